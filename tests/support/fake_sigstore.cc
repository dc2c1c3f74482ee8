#include "tests/support/fake_sigstore.h"

#include <gtest/gtest.h>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libsign/big_endian.h"
#include "libsign/inclusion_proof.h"
#include "libsign/proto_json.h"
#include "libsign/time_text.h"

namespace gantry::testing {
namespace {

using json::Array;
using json::Object;
using json::Value;
using sign::BigEndian;
using sign::Hash;
using sign::KeyHash;

constexpr std::string_view kRekorHost = "rekor.gantry.example";
constexpr std::string_view kRekor2Host = "log2025.rekor.gantry.example";
constexpr std::string_view kPayloadType = "application/vnd.in-toto+json";
constexpr int64_t kFounded = kNow - 50 * kDay;
constexpr uint64_t kGlobalIndexBase = 1000;  // the log index counts earlier shards, that of the proof does not

std::string Pae(std::string_view type, std::string_view payload) {
  return "DSSEv1 " + std::to_string(type.size()) + " " + std::string(type) + " " + std::to_string(payload.size()) +
         " " + std::string(payload);
}

// The root of the leaves [begin, end), and the path to leaf `index` appended to `path` (RFC 6962, 2.1).
std::string Tree(const std::vector<std::string>& leaves, size_t begin, size_t end, size_t index,
                 std::vector<std::string>* path) {
  if (end - begin == 1)
    return leaves[begin];
  size_t split = 1;
  while (split * 2 < end - begin) split *= 2;
  const bool left = index < begin + split;
  const std::string one = Tree(leaves, begin, begin + split, index, path != nullptr && left ? path : nullptr);
  const std::string two = Tree(leaves, begin + split, end, index, path != nullptr && !left ? path : nullptr);
  if (path != nullptr)
    path->push_back(left ? two : one);
  return sign::NodeHash(one, two);
}

Object HashObject(std::string_view message) {
  return {{"algorithm", "sha256"}, {"value", HexOf(Hash(KeyHash::kSha256, message))}};
}

Object Hash2Object(std::string_view message) {
  return {{"algorithm", "SHA2_256"}, {"digest", EncodeBase64(Hash(KeyHash::kSha256, message))}};
}

Object Signature2(const sign::Certificate& certificate, const std::string& signature) {
  return {{"content", EncodeBase64(signature)},
          {"verifier", Object{{"keyDetails", "PKIX_ECDSA_P256_SHA_256"},
                              {"x509Certificate", Object{{"rawBytes", EncodeBase64(certificate.der())}}}}}};
}

// What Rekor keeps of a signature.
Object EntrySpec(const std::string& kind, const sign::Certificate& certificate, std::string_view payload,
                 const std::string& message, const std::string& signature) {
  const std::string pem = EncodeBase64(certificate.ToPem());
  if (kind == "hashedrekord 0.0.1") {
    return {{"data", Object{{"hash", HashObject(message)}}},
            {"signature", Object{{"content", EncodeBase64(signature)}, {"publicKey", Object{{"content", pem}}}}}};
  }
  if (kind == "hashedrekord 0.0.2") {
    return {{"hashedRekordV002",
             Object{{"data", Hash2Object(message)}, {"signature", Signature2(certificate, signature)}}}};
  }
  if (kind == "dsse 0.0.1") {
    return {{"envelopeHash", HashObject("{}")},
            {"payloadHash", HashObject(payload)},
            {"signatures", Array{Object{{"signature", EncodeBase64(signature)}, {"verifier", pem}}}}};
  }
  if (kind == "dsse 0.0.2") {
    return {{"dsseV002",
             Object{{"payloadHash", Hash2Object(payload)}, {"signatures", Array{Signature2(certificate, signature)}}}}};
  }
  const Object one = {{"publicKey", pem}, {"sig", EncodeBase64(EncodeBase64(signature))}};
  return {{"content", Object{{"envelope", Object{{"payloadType", kPayloadType}, {"signatures", Array{one}}}},
                             {"hash", HashObject("{}")},
                             {"payloadHash", HashObject(payload)}}}};
}

// As logs are named: the first by their key, those of the second version by the name in their checkpoints, too.
std::string LogId(std::string_view host, const sign::PublicKey& key) {
  return key.kind() == sign::KeyKind::kEd25519
             ? Hash(KeyHash::kSha256, std::string(host) + "\n\x01" + key.spki().substr(12))
             : Hash(KeyHash::kSha256, key.spki());
}

Value LogJson(std::string_view host, const sign::PublicKey& key, std::string_view details) {
  return Object{{"baseUrl", "https://" + std::string(host)},
                {"hashAlgorithm", "SHA2_256"},
                {"publicKey", Object{{"rawBytes", EncodeBase64(key.spki())},
                                     {"keyDetails", details},
                                     {"validFor", Object{{"start", sign::TimeText(kFounded)}}}}},
                {"logId", Object{{"keyId", EncodeBase64(LogId(host, key))}}}};
}

Value AuthorityJson(const std::vector<const Issued*>& chain) {
  Array certificates;
  for (const Issued* issued : chain) {
    certificates.push_back(Object{{"rawBytes", EncodeBase64(issued->certificate.der())}});
  }
  return Object{{"subject", Object{{"organization", "gantry test"}}},
                {"uri", "https://fulcio.gantry.example"},
                {"certChain", Object{{"certificates", certificates}}},
                {"validFor", Object{{"start", sign::TimeText(kFounded)}}}};
}

sign::Scheme SchemeOf(const sign::PrivateKey& key) {
  return sign::SchemeUnderCertificate(key.public_key().kind(), true);
}

}  // namespace

json::Value& At(json::Value& document, std::string_view pointer) {
  Value* at = &document;
  while (!pointer.empty()) {
    const size_t end = std::min(pointer.find('/', 1), pointer.size());
    const std::string token(pointer.substr(1, end - 1));
    pointer.remove_prefix(end);
    if (at->object() != nullptr && at->object()->Find(token) != nullptr) {
      at = const_cast<Value*>(at->object()->Find(token));
    } else if (at->array() != nullptr && std::stoul(token) < at->array()->size()) {
      at = const_cast<Value*>(&(*at->array())[std::stoul(token)]);
    } else {
      throw Error(ErrorKind::kFailed, "test: no member " + token);
    }
  }
  return *at;
}

OpenedBundle OpenBundle(const json::Value& bundle, std::string_view artifact) {
  const json::Cursor root(bundle, "bundle");
  OpenedBundle opened{{}, sign::CertificateMaterial::Parse(root.At("verificationMaterial"))};
  if (const auto message = root.Find("messageSignature")) {
    opened.content.message = artifact;
    opened.content.signature = sign::ProtoBytes(message->At("signature"), 4096);
    return opened;
  }
  const json::Cursor envelope = root.At("dsseEnvelope");
  const std::string payload = sign::ProtoBytes(envelope.At("payload"), json::kMaxStringBytes);
  opened.content.dsse_payload = payload;
  opened.content.message = Pae(envelope.At("payloadType").String(), payload);
  const auto signatures = envelope.At("signatures").Elements(1);
  opened.content.signature = sign::ProtoBytes(signatures.at(0).At("sig"), 4096);
  return opened;
}

FakeSigstore::FakeSigstore()
    : root_(SelfSigned(CertificateSpec::Authority("O=gantry test,CN=fulcio root"))),
      authority_(IssueBy(
          root_,
          CertificateSpec::Authority("O=gantry test,CN=fulcio", ",pathlen:0").With("extendedKeyUsage", "codeSigning"))),
      tsa_root_(SelfSigned(CertificateSpec::Authority("O=gantry test,CN=tsa root"))),
      tsa_(IssueBy(tsa_root_, CertificateSpec::Timestamper("O=gantry test,CN=tsa"))),
      trusted_root_json_(MakeTrustedRoot()),
      trust_(sign::TrustedRoot::Parse(trusted_root_json_, "trusted_root.json")) {}

std::string FakeSigstore::MakeTrustedRoot() const {
  return json::Print(Object{
      {"mediaType", "application/vnd.dev.sigstore.trustedroot+json;version=0.1"},
      {"tlogs", Array{LogJson(kRekorHost, rekor_.public_key(), "PKIX_ECDSA_P256_SHA_256"),
                      LogJson(kRekor2Host, rekor2_.public_key(), "PKIX_ED25519")}},
      {"certificateAuthorities", Array{AuthorityJson({&authority_, &root_})}},
      {"ctlogs", Array{LogJson("ct.gantry.example", ct_log_.public_key(), "PKIX_ECDSA_P256_SHA_256")}},
      {"timestampAuthorities", Array{AuthorityJson({&tsa_, &tsa_root_})}},
  });
}

sign::KeylessRules FakeSigstore::RulesFor(const FakeSigning& signing) {
  return {.issuer = std::string(kIssuer), .subject = signing.email};
}

std::string FakeSigstore::MakeSctList(const sign::Certificate& precertificate) const {
  const std::string tbs = precertificate.TbsWithout(sign::kSctListOid);
  const std::string time = BigEndian(static_cast<uint64_t>(kNow) * 1000, 8);
  const std::string data = BigEndian(0, 2) + time + BigEndian(1, 2) +
                           Hash(KeyHash::kSha256, authority_.certificate.spki()) + BigEndian(tbs.size(), 3) + tbs +
                           BigEndian(0, 2);
  const std::string signature = ct_log_.Sign(SchemeOf(ct_log_), data);
  const std::string sct = BigEndian(0, 1) + Hash(KeyHash::kSha256, ct_log_.public_key().spki()) + time +
                          BigEndian(0, 2) + BigEndian(0x0403, 2) + BigEndian(signature.size(), 2) + signature;
  const std::string list = BigEndian(sct.size() + 2, 2) + BigEndian(sct.size(), 2) + sct;
  return std::string(list.size() < 128 ? "\x04" : "\x04\x81") + BigEndian(list.size(), 1) + list;  // under 256 bytes
}

Issued FakeSigstore::IssueLeaf(const FakeSigning& signing) const {
  CertificateSpec spec = CertificateSpec::CodeSigner("")
                             .With("subjectAltName", "critical,email:" + signing.email)
                             .With("1.3.6.1.4.1.57264.1.1", "DER:" + HexOf(kIssuer))
                             .With("1.3.6.1.4.1.57264.1.8", "ASN1:UTF8String:" + std::string(kIssuer));
  for (const ExtensionSpec& extension : signing.extensions) {
    spec = extension.value.empty() ? spec.Without(extension.name) : spec.With(extension.name, extension.value);
  }
  spec.key = signing.key;
  spec.not_before = kNow - 300;
  spec.not_after = kNow + 300;
  const Issued precertificate = IssueBy(authority_, spec);
  const std::string scts = MakeSctList(precertificate.certificate);
  return Reissue(authority_, precertificate, {std::string(sign::kSctListOid), "DER:" + HexOf(scts)});
}

json::Value FakeSigstore::MakeEntry(const std::string& body, const FakeSigning& signing) const {
  const bool second = signing.entry.ends_with("0.0.2") && !signing.entry.starts_with("intoto");
  const sign::PrivateKey& key = second ? rekor2_ : rekor_;
  const std::string host(second ? kRekor2Host : kRekorHost);
  const std::string log_id = LogId(host, key.public_key());
  std::vector<std::string> leaves;
  for (const char* other : {"a", "b", "c", "d", "e", "f"}) leaves.push_back(sign::LeafHash(other));
  constexpr size_t kIndex = 4;
  leaves.insert(leaves.begin() + kIndex, sign::LeafHash(body));
  std::vector<std::string> path;
  const std::string root = Tree(leaves, 0, leaves.size(), kIndex, &path);

  const std::string origin = second ? host : host + " - 1234567890";
  const std::string note = origin + "\n" + std::to_string(leaves.size()) + "\n" + EncodeBase64(root) + "\n";
  const std::string line =
      "\xE2\x80\x94 " + host + " " + EncodeBase64(log_id.substr(0, 4) + key.Sign(SchemeOf(key), note)) + "\n";

  const size_t space = signing.entry.find(' ');
  const uint64_t global = second ? kIndex : kGlobalIndexBase + kIndex;
  Object entry = {
      {"logIndex", std::to_string(global)},
      {"logId", Object{{"keyId", EncodeBase64(log_id)}}},
      {"kindVersion", Object{{"kind", signing.entry.substr(0, space)}, {"version", signing.entry.substr(space + 1)}}},
  };
  if (!second) {
    const std::string promise = json::PrintCanonical(Object{{"body", EncodeBase64(body)},
                                                            {"integratedTime", signing.time},
                                                            {"logID", HexOf(log_id)},
                                                            {"logIndex", global}});
    entry.Append("integratedTime", std::to_string(signing.time));
    entry.Append("inclusionPromise", Object{{"signedEntryTimestamp", EncodeBase64(key.Sign(SchemeOf(key), promise))}});
  }
  Array hashes;
  for (const std::string& hash : path) hashes.emplace_back(EncodeBase64(hash));
  entry.Append("inclusionProof", Object{{"logIndex", std::to_string(kIndex)},
                                        {"rootHash", EncodeBase64(root)},
                                        {"treeSize", std::to_string(leaves.size())},
                                        {"hashes", hashes},
                                        {"checkpoint", Object{{"envelope", note + "\n" + line}}}});
  entry.Append("canonicalizedBody", EncodeBase64(body));
  return entry;
}

json::Value FakeSigstore::Sign(std::string_view artifact, const FakeSigning& signing) const {
  const Issued leaf = IssueLeaf(signing);
  const sign::PrivateKey key = leaf.key();
  const std::string message = signing.envelope ? Pae(kPayloadType, artifact) : std::string(artifact);
  const std::string signature = key.Sign(SchemeOf(key), message);

  Object material = {{"certificate", Object{{"rawBytes", EncodeBase64(leaf.certificate.der())}}}};
  if (!signing.entry.empty()) {
    const size_t space = signing.entry.find(' ');
    const std::string body = json::PrintCanonical(
        Object{{"apiVersion", signing.entry.substr(space + 1)},
               {"kind", signing.entry.substr(0, space)},
               {"spec", EntrySpec(signing.entry, leaf.certificate, artifact, message, signature)}});
    material.Append("tlogEntries", Array{MakeEntry(body, signing)});
  }
  if (signing.timestamp) {
    const std::string response = TimestampResponse(MakeTimestampToken(tsa_, signature, {.time = signing.time}));
    const Array timestamps = {Object{{"signedTimestamp", EncodeBase64(response)}}};
    material.Append("timestampVerificationData", Object{{"rfc3161Timestamps", timestamps}});
  }
  Object bundle = {{"mediaType", "application/vnd.dev.sigstore.bundle.v0.3+json"}, {"verificationMaterial", material}};
  if (signing.envelope) {
    bundle.Append("dsseEnvelope", Object{{"payload", EncodeBase64(artifact)},
                                         {"payloadType", kPayloadType},
                                         {"signatures", Array{Object{{"sig", EncodeBase64(signature)}}}}});
  } else {
    bundle.Append("messageSignature",
                  Object{{"messageDigest", Hash2Object(artifact)}, {"signature", EncodeBase64(signature)}});
  }
  return bundle;
}

sign::CertificateVerdict FakeSigstore::Verify(const json::Value& bundle, std::string_view artifact,
                                              const sign::TrustedRoot& trust, const sign::KeylessRules& rules) {
  try {
    OpenedBundle opened = OpenBundle(bundle, artifact);
    return sign::VerifyKeyless(std::move(opened.content), opened.material, trust, rules);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << error.message();
    sign::CertificateVerdict verdict;
    verdict.code = "corrupt";
    verdict.reason = error.message();
    return verdict;
  }
}

}  // namespace gantry::testing
