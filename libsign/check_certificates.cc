// sigstoreSigned where certificates or the entries of a log decide; see libsign/evaluate.h.
//
// What a policy of the containers tools can name are authorities and logs by their keys: the time of a signature is
// what its log signed. Ours may also name timestamp authorities, or a whole instance by its trusted root; of that all
// counts that it lists.
#include <ctime>
#include <optional>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/attachment.h"
#include "libsign/bundle.h"
#include "libsign/claims.h"
#include "libsign/evaluate.h"
#include "libsign/keyless.h"
#include "libsign/simple_signing.h"

namespace gantry::sign {
namespace {

using image::Attachment;

constexpr std::string_view kCertificateAnnotation = "dev.sigstore.cosign/certificate";
constexpr std::string_view kChainAnnotation = "dev.sigstore.cosign/chain";
constexpr std::string_view kEntryAnnotation = "dev.sigstore.cosign/bundle";
constexpr std::string_view kTimestampAnnotation = "dev.sigstore.cosign/rfc3161timestamp";
constexpr size_t kMaxLogKeys = 100;  // of one requirement
constexpr size_t kMaxSubjectBytes = 4096;

// Whom the requirement trusts.
struct Trusted {
  std::optional<KeylessRules> keyless;     // fulcio; else
  std::optional<PkiRules> pki;             // else
  std::vector<PublicKey> keys;             // bare ones, whose signatures must be in a log
  std::vector<Certificate> authorities;    // of pki
  std::vector<Certificate> intermediates;  // of pki
  TrustedRoot instance;                    // of fulcio, and the logs
  bool whole = false;                      // it was read as one
};

std::string Decoded(const json::Cursor& from) {
  auto bytes = DecodeBase64(from.String());
  if (!bytes) {
    from.Fail("expected base64");
  }
  return *std::move(bytes);
}

// The content of the file that `path` names, or what `data` holds; empty when there is neither.
std::string Content(const json::Cursor& from, std::string_view path, std::string_view data, size_t max_bytes) {
  if (const auto file = from.Find(path)) {
    return ReadFile(file->String(), max_bytes);
  }
  const auto inlined = from.Find(data);
  return inlined ? Decoded(*inlined) : std::string();
}

std::vector<Certificate> LoadCertificates(const json::Cursor& from, const std::string& member) {
  const std::string pem = Content(from, member + "Path", member + "Data", kMaxCertificateFileBytes);
  return pem.empty() ? std::vector<Certificate>() : Certificate::ParsePem(pem, "certificates of the policy");
}

std::vector<TransparencyLog> LoadLogs(const json::Cursor& from) {
  std::vector<std::string> texts;
  if (const auto paths = from.Find("rekorPublicKeyPaths")) {
    for (const std::string& path : paths->Strings(kMaxLogKeys)) {
      texts.push_back(ReadFile(path, kMaxPublicKeyBytes));
    }
  }
  if (const auto datas = from.Find("rekorPublicKeyDatas")) {
    for (const json::Cursor& data : datas->Elements(kMaxLogKeys)) {
      texts.push_back(Decoded(data));
    }
  }
  if (auto one = Content(from, "rekorPublicKeyPath", "rekorPublicKeyData", kMaxPublicKeyBytes); !one.empty()) {
    texts.push_back(std::move(one));
  }
  std::vector<TransparencyLog> logs;
  for (const std::string& text : texts) {
    logs.push_back(TransparencyLog::OfKey(PublicKey::Parse(text, "a log's key")));
  }
  return logs;
}

std::vector<TrustedAuthority> LoadTimestampAuthorities(const json::Cursor& from) {
  std::vector<std::string> texts;
  if (const auto paths = from.Find("timestampAuthorityPaths")) {
    for (const std::string& path : paths->Strings(kMaxTrustedParties)) {
      texts.push_back(ReadFile(path, kMaxCertificateFileBytes));
    }
  }
  if (auto one = Content(from, "timestampAuthorityPath", "timestampAuthorityData", kMaxCertificateFileBytes);
      !one.empty()) {
    texts.push_back(std::move(one));
  }
  std::vector<TrustedAuthority> authorities;
  for (const std::string& text : texts) {
    authorities.push_back({Certificate::ParsePem(text, "timestamp authority of the policy"), {}});
  }
  return authorities;
}

std::string TextAt(const json::Cursor& from, std::string_view key) {
  const auto member = from.Find(key);
  return member ? member->String(kMaxSubjectBytes) : std::string();
}

// Logs and authorities, from the trusted root or one by one.
void LoadInstance(const json::Cursor& from, Trusted& trusted) {
  if (const auto root = Content(from, "trustedRootPath", "trustedRootData", kMaxTrustedRootBytes); !root.empty()) {
    trusted.instance = TrustedRoot::Parse(root, "the trusted root of the policy");
    trusted.whole = true;
  } else {
    trusted.instance.tlogs = LoadLogs(from);
  }
  for (TrustedAuthority& authority : LoadTimestampAuthorities(from)) {
    trusted.instance.timestamp_authorities.push_back(std::move(authority));
  }
}

KeylessRules LoadFulcio(const json::Cursor& fulcio, Trusted& trusted) {
  for (Certificate& authority : LoadCertificates(fulcio, "ca")) {
    trusted.instance.certificate_authorities.push_back({{std::move(authority)}, {}});
  }
  KeylessRules rules{.issuer = fulcio.At("oidcIssuer").String(kMaxSubjectBytes),
                     .subject = TextAt(fulcio, "subjectEmail"),
                     .email_only = true};
  if (rules.subject.empty()) {
    rules.subject = fulcio.At(trusted.whole ? "subject" : "subjectEmail").String(kMaxSubjectBytes);
    rules.email_only = !trusted.whole;
  }
  // Else as the containers tools have it: no SCT is asked for, and the hash is SHA-256.
  rules.require_sct = trusted.whole && !trusted.instance.ctlogs.empty();
  rules.require_entry = !trusted.whole || !trusted.instance.tlogs.empty();
  rules.hash_of_curve = trusted.whole;
  return rules;
}

// All but the bare keys.
Trusted Load(const Requirement& requirement) {
  const json::Cursor from(requirement.certificates, "requirement");
  Trusted trusted;
  LoadInstance(from, trusted);
  if (const auto fulcio = from.Find("fulcio")) {
    trusted.keyless = LoadFulcio(*fulcio, trusted);
  } else if (const auto pki = from.Find("pki")) {
    trusted.authorities = LoadCertificates(*pki, "caRoots");
    trusted.intermediates = LoadCertificates(*pki, "caIntermediates");
    trusted.pki = PkiRules{
        .email = TextAt(*pki, "subjectEmail"), .hostname = TextAt(*pki, "subjectHostname"), .now = std::time(nullptr)};
  }
  return trusted;
}

std::string Annotation(const Attachment& attachment, std::string_view key) {
  const auto at = attachment.annotations.find(std::string(key));
  return at == attachment.annotations.end() ? std::string() : at->second;
}

// A signature with what came along, from whatever form it was stored in. Nothing is vouched for.
struct Presented {
  SignedContent content;
  CertificateMaterial material;          // without a chain when a bare key made it
  std::optional<DsseEnvelope> envelope;  // else a simple-signing payload, or
  bool over_manifest = false;            // the manifest itself
  bool other_digest = false;             // which, as it says, is another one
  bool in_bundle = false;

  static Presented FromPayload(const Attachment& attachment) {
    const auto signature = DecodeBase64(Annotation(attachment, image::kSignatureAnnotation));
    if (!signature || signature->empty()) {
      throw Error(ErrorKind::kCorrupt, "it lacks the annotation with the signature");
    }
    // Not in the braces below: g++ 12 destroys what is before it twice when it throws there.
    CertificateMaterial material = MaterialOf(attachment);
    return {{attachment.payload, *signature, {}, {}}, std::move(material), {}};
  }

  static Presented FromEnvelope(const Attachment& attachment) {
    return Of(DsseEnvelope::Parse(attachment.payload), MaterialOf(attachment));
  }

  static Presented FromBundle(std::string_view text, const std::string& manifest) {
    const Bundle bundle = Bundle::Parse(text);
    CertificateMaterial material = MaterialOf(bundle);
    Presented presented = bundle.envelope
                              ? Of(*bundle.envelope, std::move(material))
                              : Presented{{manifest, bundle.message->bytes, {}, {}}, std::move(material), {}};
    presented.over_manifest = !bundle.envelope;
    presented.other_digest = bundle.message && !bundle.message->IsAbout(manifest);
    presented.in_bundle = true;
    return presented;
  }

 private:
  static Presented Of(DsseEnvelope envelope, CertificateMaterial material) {
    if (envelope.signatures.size() != 1) {
      throw Error(ErrorKind::kCorrupt, "an envelope with several signatures");
    }
    SignedContent content{envelope.SignedBytes(), envelope.signatures.front().bytes, {}, envelope.payload};
    return {std::move(content), std::move(material), std::move(envelope)};
  }

  static CertificateMaterial MaterialOf(const Bundle& bundle) {
    if (!bundle.certificate.empty()) {
      return CertificateMaterial::FromParts(bundle.certificate, bundle.log_entries, bundle.timestamps);
    }
    CertificateMaterial material;
    for (const json::Cursor& entry : json::Cursor(bundle.log_entries, "tlogEntries").Elements(kMaxLogEntries)) {
      material.entries.push_back(RekorEntry::Parse(entry));
    }
    return material;
  }

  static CertificateMaterial MaterialOf(const Attachment& attachment) {
    const std::string certificate = Annotation(attachment, kCertificateAnnotation);
    const std::string entry = Annotation(attachment, kEntryAnnotation);
    if (!certificate.empty()) {
      return CertificateMaterial::FromAnnotations(certificate, Annotation(attachment, kChainAnnotation), entry,
                                                  Annotation(attachment, kTimestampAnnotation));
    }
    CertificateMaterial material;
    if (!entry.empty()) {
      material.entries.push_back(RekorEntry::ParseCosign(entry));
    }
    return material;
  }
};

class CertificateCheck {
 public:
  CertificateCheck(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth)
      : question_(question),
        requirement_(requirement),
        steps_(steps),
        depth_(depth),
        verdicts_(question, steps, depth),
        judge_(question, requirement, verdicts_) {}

  Outcome Run() {
    try {
      trusted_ = Load(requirement_);
      trusted_.keys = requirement_.OpenKeys();
    } catch (const Error& error) {
      return verdicts_.Result(
          Outcome::Refused("key-unusable", "a key of the policy cannot be used: " + error.message()));
    }
    const std::vector<std::string>& signatures = question_.evidence.signatures;
    for (size_t i = 0; i < signatures.size(); ++i) {
      if (StoredSignature::Detect(signatures[i]).format != StoredFormat::kSigstore) {
        verdicts_.Skip(i, "other-kind", "it is no sigstore signature");
      } else if (Look(i, signatures[i])) {
        break;
      }
    }
    return verdicts_.Result(Outcome::Refused("no-signature", "no signature found"));
  }

 private:
  bool by_key() const { return !trusted_.keyless && !trusted_.pki; }

  // True when it suffices.
  bool Look(size_t index, const std::string& stored) {
    const auto attachment =
        verdicts_.Parsed(index, "not-understood", "", [&] { return Attachment::FromStored(stored).value(); });
    if (!attachment) {
      return false;
    }
    const std::string& type = attachment->media_type;
    if (type != image::kSimpleSigningType && type != image::kDsseType && type != image::kBundleType) {
      verdicts_.Skip(index, "other-kind", "it is of type " + Quoted(type));
      return false;
    }
    const auto presented = verdicts_.Parsed(index, "not-understood", "", [&] {
      return type == image::kSimpleSigningType ? Presented::FromPayload(*attachment)
             : type == image::kDsseType        ? Presented::FromEnvelope(*attachment)
                                        : Presented::FromBundle(attachment->payload, question_.image.manifest_bytes());
    });
    return presented && Judge(index, *attachment, *presented);
  }

  bool Judge(size_t index, const Attachment& attachment, const Presented& presented) {
    if (presented.material.chain.empty() != by_key()) {
      verdicts_.Skip(index, "other-kind",
                     by_key() ? "it goes by a certificate and not by a key" : "it goes by no certificate");
      return false;
    }
    if (presented.other_digest) {
      return verdicts_.Add(index, Outcome::Refused("digest-mismatch", "the bundle is about another image"));
    }
    const CertificateVerdict verdict = VerdictOn(presented);
    bool enough = false;
    if (!verdict.accepted) {
      enough = verdicts_.Add(index, Outcome::Refused(verdict.code, verdict.reason));
    } else {
      const Signer signer{verdict.signer, !by_key()};
      enough = presented.envelope        ? judge_.Envelope(index, *presented.envelope, signer)
               : presented.over_manifest ? judge_.Manifest(index, signer)
                                         : judge_.Payload(index, attachment.payload, signer);
    }
    AddSteps(verdict.steps);
    return enough;
  }

  CertificateVerdict VerdictOn(const Presented& presented) const {
    if (trusted_.pki) {
      return VerifyPki(presented.content, presented.material, trusted_.authorities, trusted_.intermediates,
                       *trusted_.pki);
    }
    if (!trusted_.keyless) {
      return VerifyLogged(presented);
    }
    CertificateMaterial material = presented.material;
    // Where no timestamp authority is trusted, timestamps that came along are nobody's word.
    if (trusted_.instance.timestamp_authorities.empty()) {
      material.timestamps.clear();
    }
    KeylessRules rules = *trusted_.keyless;
    rules.require_proof = trusted_.whole && presented.in_bundle;
    return VerifyKeyless(presented.content, material, trusted_.instance, rules);
  }

  // By a bare key, and in a log under that key.
  CertificateVerdict VerifyLogged(const Presented& presented) const {
    for (const PublicKey& key : trusted_.keys) {
      const Scheme scheme = requirement_.algorithm.value_or(Scheme::DefaultFor(key.kind()));
      if (key.Accepts(scheme, presented.content.message, presented.content.signature)) {
        return VerifyEntries(presented, key);
      }
    }
    CertificateVerdict verdict;
    verdict.code = "bad-signature";
    verdict.reason = "no key of the policy made it, or what it signed was changed";
    return verdict;
  }

  CertificateVerdict VerifyEntries(const Presented& presented, const PublicKey& key) const {
    CertificateVerdict verdict;
    verdict.accepted = !presented.material.entries.empty();
    verdict.signer = key.fingerprint();
    if (!verdict.accepted) {
      verdict.code = "no-log-entry";
      verdict.reason = "the signature is not in a transparency log";
    }
    SignedContent content = presented.content;
    content.verifier = key.spki();
    for (const RekorEntry& entry : presented.material.entries) {
      const EntryCheck check =
          CheckEntry(entry, content, trusted_.instance.tlogs, trusted_.whole && presented.in_bundle);
      verdict.steps.insert(verdict.steps.end(), check.steps.begin(), check.steps.end());
      std::optional<Reason> problem = check.problem;
      if (!problem && !check.time && !check.log_valid_for.Contains(std::time(nullptr))) {
        problem = Reason{"unknown-log", "the log is no longer trusted, and does not say when it took the entry"};
      }
      if (problem) {
        verdict.accepted = false;
        verdict.code = problem->code;
        verdict.reason = problem->text;
        break;
      }
    }
    return verdict;
  }

  // What led to a verdict, below it.
  void AddSteps(const std::vector<Step>& steps) {
    for (Step step : steps) {
      step.depth = depth_ + 1;
      steps_.push_back(std::move(step));
    }
  }

  const Question& question_;
  const Requirement& requirement_;
  std::vector<Step>& steps_;
  size_t depth_;
  Verdicts verdicts_;
  ClaimJudge judge_;
  Trusted trusted_;
};

}  // namespace

void RequireAuthorities(const Requirement& requirement) { static_cast<void>(Load(requirement)); }

Outcome CheckCertificates(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                          size_t depth) {
  return CertificateCheck(question, requirement, steps, depth).Run();
}

}  // namespace gantry::sign
