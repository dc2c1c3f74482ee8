#include "libsign/rekor.h"

#include <algorithm>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libsign/inclusion_proof.h"
#include "libsign/proto_json.h"
#include "libsign/signed_note.h"
#include "libsign/time_text.h"

namespace gantry::sign {
namespace {

constexpr size_t kMaxLogIdBytes = 64;
constexpr size_t kMaxLogSignatureBytes = 4096;
constexpr size_t kHashBytes = 32;

// What an entry is about, whatever its kind: compared with what it must be about.
class Binding {
 public:
  Binding(const json::Cursor& body, const SignedContent& content) : body_(body), content_(content) {}

  // Throws kCorrupt for a body that is not of its kind.
  std::optional<Reason> Check(const RekorEntry& entry) {
    const std::string& kind = body_.At("kind").String(64);
    const std::string& version = body_.At("apiVersion").String(64);
    if ((!entry.kind.empty() && entry.kind != kind) || (!entry.version.empty() && entry.version != version)) {
      return Mismatch("kind");
    }
    const json::Cursor spec = body_.At("spec");
    if (kind == "hashedrekord" && version == "0.0.1") {
      return CheckHashed(spec);
    }
    if (kind == "hashedrekord" && version == "0.0.2") {
      return CheckHashed2(spec.At("hashedRekordV002"));
    }
    if (kind == "dsse" && version == "0.0.1") {
      return CheckDsse(spec);
    }
    if (kind == "dsse" && version == "0.0.2") {
      return CheckDsse2(spec.At("dsseV002"));
    }
    if (kind == "intoto" && version == "0.0.2") {
      return CheckIntoto(spec.At("content"));
    }
    return Reason{"bad-entry", "entries of kind " + Quoted(kind) + " " + Quoted(version) + " are not understood"};
  }

 private:
  static std::optional<Reason> Mismatch(std::string_view what) {
    return Reason{"entry-mismatch", "the log entry is about another " + std::string(what)};
  }

  // "algorithm" and "value" (hexadecimal).
  static bool HasHash(const json::Cursor& from, std::string_view message) {
    const std::string& name = from.At("algorithm").String(16);
    const std::string& value = from.At("value").String(256);
    for (const auto& [known, hash] : {std::pair("sha256", KeyHash::kSha256), std::pair("sha384", KeyHash::kSha384),
                                      std::pair("sha512", KeyHash::kSha512)}) {
      if (name == known) {
        return value == HexOf(Hash(hash, message));
      }
    }
    from.Fail("a hash that is not understood");
  }

  // "algorithm" and "digest" (base64).
  static bool HasHash2(const json::Cursor& from, std::string_view message) {
    const std::string& name = from.At("algorithm").String(16);
    const std::string digest = ProtoBytes(from.At("digest"), 64);
    for (const auto& [known, hash] : {std::pair("SHA2_256", KeyHash::kSha256), std::pair("SHA2_384", KeyHash::kSha384),
                                      std::pair("SHA2_512", KeyHash::kSha512)}) {
      if (name == known) {
        return digest == Hash(hash, message);
      }
    }
    from.Fail("a hash that is not understood");
  }

  bool HasVerifierPem(const json::Cursor& from) const {
    const std::string pem = ProtoBytes(from, kMaxEntryBodyBytes);
    if (pem.find("BEGIN CERTIFICATE") == std::string::npos) {
      return PublicKey::Parse(pem, "key of the entry").spki() == content_.verifier;
    }
    const auto certificates = Certificate::ParsePem(pem, "certificate of the entry");
    return certificates.front().der() == content_.verifier;
  }

  bool HasVerifier2(const json::Cursor& from) const {
    const auto certificate = from.Find("x509Certificate");
    const auto key = from.Find("publicKey");
    if (certificate.has_value() == key.has_value()) {
      from.Fail("expected a certificate or a key");
    }
    return ProtoBytes((certificate ? certificate : key)->At("rawBytes"), kMaxCertificateBytes) == content_.verifier;
  }

  std::optional<Reason> CheckHashed(const json::Cursor& spec) const {
    if (!HasHash(spec.At("data").At("hash"), content_.message)) {
      return Mismatch("artifact");
    }
    const json::Cursor signature = spec.At("signature");
    if (ProtoBytes(signature.At("content"), kMaxEntryBodyBytes) != content_.signature) {
      return Mismatch("signature");
    }
    return HasVerifierPem(signature.At("publicKey").At("content")) ? std::nullopt : Mismatch("certificate or key");
  }

  std::optional<Reason> CheckHashed2(const json::Cursor& record) const {
    return HasHash2(record.At("data"), content_.message) ? CheckSignature2(record.At("signature"))
                                                         : Mismatch("artifact");
  }

  std::optional<Reason> CheckSignature2(const json::Cursor& signature) const {
    if (ProtoBytes(signature.At("content"), kMaxEntryBodyBytes) != content_.signature) {
      return Mismatch("signature");
    }
    return HasVerifier2(signature.At("verifier")) ? std::nullopt : Mismatch("certificate or key");
  }

  // The only signature of an envelope.
  static json::Cursor Only(const json::Cursor& signatures) {
    const auto elements = signatures.Elements(1);
    if (elements.empty()) {
      signatures.Fail("expected one signature");
    }
    return elements.front();
  }

  std::optional<Reason> CheckDsse(const json::Cursor& spec) const {
    if (!content_.dsse_payload || !HasHash(spec.At("payloadHash"), *content_.dsse_payload)) {
      return Mismatch("payload");
    }
    const json::Cursor signature = Only(spec.At("signatures"));
    if (ProtoBytes(signature.At("signature"), kMaxEntryBodyBytes) != content_.signature) {
      return Mismatch("signature");
    }
    return HasVerifierPem(signature.At("verifier")) ? std::nullopt : Mismatch("certificate or key");
  }

  std::optional<Reason> CheckDsse2(const json::Cursor& spec) const {
    if (!content_.dsse_payload || !HasHash2(spec.At("payloadHash"), *content_.dsse_payload)) {
      return Mismatch("payload");
    }
    return CheckSignature2(Only(spec.At("signatures")));
  }

  std::optional<Reason> CheckIntoto(const json::Cursor& of) const {
    if (!content_.dsse_payload || !HasHash(of.At("payloadHash"), *content_.dsse_payload)) {
      return Mismatch("payload");
    }
    const json::Cursor signature = Only(of.At("envelope").At("signatures"));
    // Encoded twice, and so it stays.
    const auto once = DecodeEitherBase64(ProtoBytes(signature.At("sig"), kMaxEntryBodyBytes));
    if (once != content_.signature) {
      return Mismatch("signature");
    }
    return HasVerifierPem(signature.At("publicKey")) ? std::nullopt : Mismatch("certificate or key");
  }

  const json::Cursor& body_;
  const SignedContent& content_;
};

// What the log signed when it took the entry: RFC 8785 of these four.
std::string EntryTimestampPayload(const RekorEntry& entry) {
  return json::PrintCanonical(json::Object{{"body", EncodeBase64(entry.body)},
                                           {"integratedTime", entry.integrated_time.value_or(0)},
                                           {"logID", HexOf(entry.log_id)},
                                           {"logIndex", entry.log_index}});
}

// The checkpoint is the log's own, and the proof leads from the entry to its root.
std::optional<Reason> CheckProof(const RekorEntry& entry, const TransparencyLog& log) {
  const InclusionProof& proof = *entry.proof;
  Checkpoint checkpoint;
  std::string name;
  try {
    const SignedNote note = SignedNote::Parse(proof.checkpoint);
    checkpoint = Checkpoint::Parse(note.text);
    name = checkpoint.origin.substr(0, checkpoint.origin.find(' '));
    if (!log.host.empty() && name != log.host) {
      return Reason{"bad-checkpoint", "the checkpoint is of " + Quoted(checkpoint.origin) + " and not of " + log.host};
    }
    if (!note.SignedBy(name, log.key)) {
      return Reason{"bad-checkpoint", "the checkpoint is not signed by the log"};
    }
  } catch (const Error& error) {
    return Reason{"bad-checkpoint", error.message()};
  }
  if (proof.root_hash != checkpoint.root_hash || proof.tree_size != checkpoint.size) {
    return Reason{"bad-inclusion-proof", "the inclusion proof is for another tree than the checkpoint"};
  }
  if (!ProvesInclusion(LeafHash(entry.body), proof.index, proof.tree_size, proof.hashes, proof.root_hash)) {
    return Reason{"bad-inclusion-proof", "the inclusion proof does not lead to the log's root"};
  }
  return std::nullopt;
}

InclusionProof ParseProof(const json::Cursor& from) {
  InclusionProof proof;
  const auto index = from.Find("logIndex");
  proof.index = index ? ProtoUnsigned(*index) : 0;
  proof.tree_size = ProtoUnsigned(from.At("treeSize"));
  proof.root_hash = ProtoBytes(from.At("rootHash"), kHashBytes);
  const auto hashes = from.Find("hashes");
  for (const json::Cursor& hash : hashes ? hashes->Elements(kMaxProofHashes) : std::vector<json::Cursor>()) {
    proof.hashes.push_back(ProtoBytes(hash, kHashBytes));
    if (proof.hashes.back().size() != kHashBytes) {
      hash.Fail("expected 32 bytes");
    }
  }
  proof.checkpoint = from.At("checkpoint").At("envelope").String(kMaxNoteBytes);
  return proof;
}

EntryCheck Refused(Reason reason) { return {std::move(reason), {}, {}, {}, {}}; }

// A log that is known by its key alone has, since version 2, an ID that depends on what it calls itself in its
// checkpoints; which are signed with that key, or the entry is refused later.
bool IsOf(const RekorEntry& entry, const TransparencyLog& log) {
  if (log.id == entry.log_id) {
    return true;
  }
  if (!log.host.empty() || log.key.kind() != KeyKind::kEd25519 || !entry.proof) {
    return false;
  }
  const std::string& checkpoint = entry.proof->checkpoint;
  return NoteKeyId(checkpoint.substr(0, checkpoint.find_first_of(" \n")), log.key) == entry.log_id;
}

}  // namespace

RekorEntry RekorEntry::Parse(const json::Cursor& from) {
  RekorEntry entry;
  entry.body = ProtoBytes(from.At("canonicalizedBody"), kMaxEntryBodyBytes);
  entry.kind = from.At("kindVersion").At("kind").String(64);
  entry.version = from.At("kindVersion").At("version").String(64);
  entry.log_id = ProtoBytes(from.At("logId").At("keyId"), kMaxLogIdBytes);
  if (const auto index = from.Find("logIndex")) {
    entry.log_index = ProtoUnsigned(*index);
  }
  if (const auto time = from.Find("integratedTime"); time && ProtoUnsigned(*time) != 0) {
    entry.integrated_time = static_cast<int64_t>(ProtoUnsigned(*time));
  }
  if (const auto promise = from.Find("inclusionPromise")) {
    entry.signed_entry_timestamp = ProtoBytes(promise->At("signedEntryTimestamp"), kMaxLogSignatureBytes);
  }
  if (const auto proof = from.Find("inclusionProof")) {
    entry.proof = ParseProof(*proof);
  }
  return entry;
}

RekorEntry RekorEntry::ParseCosign(std::string_view text) {
  if (text.size() > 2 * kMaxEntryBodyBytes) {
    throw Error(ErrorKind::kCorrupt, "log entry: over " + std::to_string(2 * kMaxEntryBodyBytes) + " bytes");
  }
  const json::Value document = json::Parse(text, "log entry");
  const json::Cursor root(document, "log entry");
  root.OnlyKeys({"SignedEntryTimestamp", "Payload"});
  const json::Cursor payload = root.At("Payload");
  payload.OnlyKeys({"body", "integratedTime", "logIndex", "logID"});
  RekorEntry entry;
  entry.signed_entry_timestamp = ProtoBytes(root.At("SignedEntryTimestamp"), kMaxLogSignatureBytes);
  entry.body = ProtoBytes(payload.At("body"), kMaxEntryBodyBytes);
  entry.integrated_time = payload.At("integratedTime").Integer(1, INT64_MAX);
  entry.log_index = payload.At("logIndex").Unsigned(INT64_MAX);
  const std::string& id = payload.At("logID").String(2 * kMaxLogIdBytes);
  if (id.size() % 2 != 0 || id.find_first_not_of("0123456789abcdef") != std::string::npos) {
    payload.At("logID").Fail("expected lower-case hexadecimal");
  }
  for (size_t at = 0; at < id.size(); at += 2) {
    entry.log_id += static_cast<char>(std::stoi(id.substr(at, 2), nullptr, 16));
  }
  return entry;
}

std::optional<Reason> CheckBinding(const RekorEntry& entry, const SignedContent& content) {
  try {
    const json::Value document = json::Parse(entry.body, "log entry");
    const json::Cursor body(document, "log entry");
    return Binding(body, content).Check(entry);
  } catch (const Error& error) {
    return Reason{"bad-entry", error.message()};
  }
}

EntryCheck CheckEntry(const RekorEntry& entry, const SignedContent& content, const std::vector<TransparencyLog>& logs,
                      bool require_proof) {
  if (auto mismatch = CheckBinding(entry, content)) {
    return Refused(*mismatch);
  }
  const auto log =
      std::find_if(logs.begin(), logs.end(), [&](const TransparencyLog& known) { return IsOf(entry, known); });
  if (log == logs.end()) {
    return Refused({"unknown-log", "the entry is of a log that is not trusted"});
  }
  EntryCheck check;
  check.log = log->host.empty() ? HexOf(log->id).substr(0, 16) : log->host;
  check.log_valid_for = log->valid_for;
  check.steps.push_back({"entry-bound", true, "the entry of " + check.log + " is about this signature"});
  if (!entry.signed_entry_timestamp.empty()) {
    if (!entry.integrated_time ||
        !log->key.Accepts(log->scheme, EntryTimestampPayload(entry), entry.signed_entry_timestamp)) {
      return Refused({"bad-entry-timestamp", "the signed entry timestamp is not the log's"});
    }
    if (!log->valid_for.Contains(*entry.integrated_time)) {
      return Refused({"unknown-log", "the log was not trusted at " + TimeText(*entry.integrated_time)});
    }
    check.time = entry.integrated_time;
    check.steps.push_back({"entry-timestamp", true, check.log + " took the entry at " + TimeText(*check.time)});
  }
  if (!entry.proof && (require_proof || entry.signed_entry_timestamp.empty())) {
    return Refused({"no-inclusion-proof", "the entry has no inclusion proof"});
  }
  if (entry.proof) {
    // Without the log's signature over it, the index of the entry is that of the proof or a lie.
    if (!check.time && entry.log_index != entry.proof->index) {
      return Refused({"bad-inclusion-proof", "the inclusion proof is of another entry"});
    }
    if (auto problem = CheckProof(entry, *log)) {
      return Refused(*problem);
    }
    check.steps.push_back({"included", true,
                           "the entry is number " + std::to_string(entry.proof->index) + " of the " +
                               std::to_string(entry.proof->tree_size) + " in " + check.log});
  }
  return check;
}

}  // namespace gantry::sign
