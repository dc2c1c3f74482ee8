#include "libsign/keyless.h"

#include <algorithm>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libsign/proto_json.h"
#include "libsign/time_text.h"
#include "libsign/timestamp.h"
#include "libsign/x509_chain.h"

namespace gantry::sign {
namespace {

// Steps, up to the first that fails.
class Checks {
 public:
  void Pass(std::string code, std::string text) { verdict_.steps.push_back({std::move(code), true, std::move(text)}); }
  void Pass(const std::vector<Step>& steps) { verdict_.steps.insert(verdict_.steps.end(), steps.begin(), steps.end()); }
  bool Fail(const Reason& reason) {
    verdict_.steps.push_back({reason.code, false, reason.text});
    verdict_.code = reason.code;
    verdict_.reason = reason.text;
    return false;
  }
  bool Fail(std::string code, std::string text) { return Fail(Reason{std::move(code), std::move(text)}); }

  CertificateVerdict Take(bool accepted, const std::string& signer) {
    verdict_.accepted = accepted;
    if (accepted) {
      verdict_.code = "signed";
      verdict_.signer = signer;
      verdict_.reason = "signed by " + signer;
      verdict_.steps.push_back({"signed", true, verdict_.reason});
    }
    return std::move(verdict_);
  }

 private:
  CertificateVerdict verdict_;
};

bool CheckSignature(const Certificate& leaf, const SignedContent& content, bool hash_of_curve, Checks& checks) {
  if (!leaf.key()) {
    return checks.Fail("weak-key", "the certificate's key is too small or of a kind that is not accepted");
  }
  const Scheme scheme = SchemeUnderCertificate(leaf.key()->kind(), hash_of_curve);
  if (!leaf.key()->Accepts(scheme, content.message, content.signature)) {
    return checks.Fail("bad-signature", "the signature is not made with the certificate's key");
  }
  checks.Pass("signature", "the certificate's key signed it (" + scheme.Name() + ")");
  return true;
}

class KeylessVerifier {
 public:
  KeylessVerifier(const SignedContent& content, const CertificateMaterial& material, const TrustedRoot& trust,
                  const KeylessRules& rules)
      : content_(content), material_(material), trust_(trust), rules_(rules), leaf_(material.chain.front()) {}

  CertificateVerdict Run() {
    const bool accepted = CheckEntries() && CheckTimestamps() && CheckChains() && CheckLogged() &&
                          CheckSignature(leaf_, content_, rules_.hash_of_curve, checks_) && CheckIdentity();
    return checks_.Take(accepted, accepted ? identity_.Describe() : "");
  }

 private:
  bool CheckEntries() {
    if (material_.entries.empty() && rules_.require_entry) {
      return checks_.Fail("no-log-entry", "the signature is not in a transparency log");
    }
    std::vector<std::pair<std::string, uint64_t>> seen;
    for (const RekorEntry& entry : material_.entries) {
      const auto place = std::pair(entry.log_id, entry.log_index);
      if (std::find(seen.begin(), seen.end(), place) != seen.end()) {
        return checks_.Fail("duplicate-log-entry", "a log entry is there twice");
      }
      seen.push_back(place);
      const EntryCheck check = CheckEntry(entry, content_, trust_.tlogs, rules_.require_proof);
      if (check.problem) {
        return checks_.Fail(*check.problem);
      }
      checks_.Pass(check.steps);
      if (check.time) {
        times_.push_back(*check.time);
      } else {
        undated_.push_back(check);
      }
    }
    return true;
  }

  bool CheckTimestamps() {
    for (const std::string& response : material_.timestamps) {
      Timestamp best;
      best.problem = Reason{"untrusted-chain", "no timestamp authority is trusted"};
      const auto token = TokenOfResponse(response);
      if (!token) {
        return checks_.Fail("bad-timestamp", "the timestamp is not a response that grants one");
      }
      for (const TrustedAuthority& authority : trust_.timestamp_authorities) {
        best = VerifyTimestampToken(*token, content_.signature, authority.chain, {authority.chain.back()});
        if (!best.problem && !authority.valid_for.Contains(best.time)) {
          best.problem = Reason{"untrusted-chain", "the timestamp authority was not trusted at " + TimeText(best.time)};
        }
        if (!best.problem) {
          break;
        }
      }
      if (best.problem) {
        return checks_.Fail(*best.problem);
      }
      times_.push_back(best.time);
      checks_.Pass("timestamp", Quoted(best.chain.front().subject()) + " saw the signature at " + TimeText(best.time));
    }
    return CheckTimes();
  }

  // A log that does not say when it took the entry must have been trusted whenever others saw the signature.
  bool CheckTimes() {
    if (times_.empty()) {
      return checks_.Fail("no-trusted-time", "nobody who is trusted says when the signature was made");
    }
    for (const EntryCheck& entry : undated_) {
      for (const int64_t time : times_) {
        if (!entry.log_valid_for.Contains(time)) {
          return checks_.Fail("unknown-log", "the log " + entry.log + " was not trusted at " + TimeText(time));
        }
      }
    }
    return true;
  }

  bool CheckChains() {
    for (const int64_t time : times_) {
      std::vector<Certificate> candidates(material_.chain.begin() + 1, material_.chain.end());
      std::vector<Certificate> anchors;
      for (const TrustedAuthority& authority : trust_.certificate_authorities) {
        if (authority.valid_for.Contains(time)) {
          candidates.insert(candidates.end(), authority.chain.begin(), authority.chain.end() - 1);
          anchors.push_back(authority.chain.back());
        }
      }
      Chain chain = BuildChain(leaf_, candidates, anchors, time, kCodeSigningUsage);
      if (chain.problem) {
        return checks_.Fail(*chain.problem);
      }
      checks_.Pass("chain", "the certificate is of " + Quoted(leaf_.issuer()) + " and was valid at " + TimeText(time));
      chain_ = std::move(chain.certificates);
    }
    if (leaf_.is_ca() || (leaf_.key_usage().value_or(0) & kDigitalSignature) == 0) {
      return checks_.Fail("wrong-usage", "the certificate is not for signatures");
    }
    return true;
  }

  bool CheckLogged() {
    if (!rules_.require_sct) {
      return true;
    }
    const Certificate& issuer = chain_.size() > 1 ? chain_[1] : chain_[0];
    if (const auto problem = CheckScts(leaf_, issuer, trust_.ctlogs)) {
      return checks_.Fail(*problem);
    }
    checks_.Pass("sct", "the certificate was logged when it was issued");
    return true;
  }

  bool CheckIdentity() {
    identity_ = ReadFulcioIdentity(leaf_);
    if (identity_.problem) {
      return checks_.Fail(*identity_.problem);
    }
    if (identity_.issuer != rules_.issuer) {
      return checks_.Fail("issuer-mismatch", "it was signed by " + identity_.Describe() +
                                                 ", and the policy wants issuer " + Quoted(rules_.issuer));
    }
    if (!identity_.Is(rules_.subject, rules_.email_only)) {
      return checks_.Fail("subject-mismatch", "it was signed by " + identity_.Describe() + ", and the policy wants " +
                                                  Quoted(rules_.subject));
    }
    return true;
  }

  const SignedContent& content_;
  const CertificateMaterial& material_;
  const TrustedRoot& trust_;
  const KeylessRules& rules_;
  const Certificate& leaf_;
  Checks checks_;
  std::vector<int64_t> times_;
  std::vector<EntryCheck> undated_;
  std::vector<Certificate> chain_;
  FulcioIdentity identity_;
};

// RFC 6125: the same name in any letter case, or one label under a "*." in the certificate.
bool HostMatches(std::string_view pattern, std::string_view host) {
  const std::string wanted = LowerAscii(host);
  const std::string named = LowerAscii(pattern);
  const size_t dot = wanted.find('.');
  return named == wanted || (named.starts_with("*.") && dot != std::string::npos && dot > 0 &&
                             named.find('.', 2) != std::string::npos && named.substr(1) == wanted.substr(dot));
}

bool HasName(const Certificate& leaf, AlternativeName::Kind kind, const auto& matches) {
  const auto& names = leaf.alternative_names();
  return std::any_of(names.begin(), names.end(),
                     [&](const AlternativeName& name) { return name.kind == kind && matches(name.value); });
}

bool CheckPkiNames(const Certificate& leaf, const PkiRules& rules, Checks& checks) {
  if (rules.email.empty() && rules.hostname.empty()) {
    return checks.Fail("subject-mismatch", "the policy names no subject");
  }
  using Kind = AlternativeName::Kind;
  if (!rules.email.empty() && !HasName(leaf, Kind::kEmail, [&](const auto& name) { return name == rules.email; })) {
    return checks.Fail("subject-mismatch", "the certificate is not for " + Quoted(rules.email));
  }
  if (!rules.hostname.empty() &&
      !HasName(leaf, Kind::kDns, [&](const auto& name) { return HostMatches(name, rules.hostname); })) {
    return checks.Fail("subject-mismatch", "the certificate is not for " + Quoted(rules.hostname));
  }
  return true;
}

Certificate ParseCertificate(const json::Cursor& from) {
  return Certificate::Parse(ProtoBytes(from.At("rawBytes"), kMaxCertificateBytes), "certificate of the signature");
}

std::vector<Certificate> ParseChain(const json::Cursor& from) {
  std::vector<Certificate> chain;
  for (const json::Cursor& element : from.At("certificates").Elements(kMaxAuthorityChain)) {
    chain.push_back(ParseCertificate(element));
    if (chain.back().self_signed() && chain.back().is_ca()) {
      element.Fail("a root that comes with what it is to vouch for");
    }
  }
  if (chain.empty()) {
    from.Fail("expected a certificate");
  }
  return chain;
}

std::vector<RekorEntry> ParseEntries(const json::Cursor& from) {
  std::vector<RekorEntry> entries;
  for (const json::Cursor& entry : from.Elements(kMaxLogEntries)) {
    entries.push_back(RekorEntry::Parse(entry));
  }
  return entries;
}

std::vector<std::string> ParseTimestamps(const json::Cursor& from) {
  std::vector<std::string> timestamps;
  const auto list = from.Find("rfc3161Timestamps");
  for (const json::Cursor& timestamp : list ? list->Elements(kMaxBundleTimestamps) : std::vector<json::Cursor>()) {
    timestamps.push_back(ProtoBytes(timestamp.At("signedTimestamp"), kMaxTimestampBytes));
  }
  return timestamps;
}

}  // namespace

Scheme SchemeUnderCertificate(KeyKind kind, bool hash_of_curve) {
  Scheme scheme = Scheme::DefaultFor(kind);
  if (hash_of_curve) {
    scheme.hash = kind == KeyKind::kEcdsaP384   ? KeyHash::kSha384
                  : kind == KeyKind::kEcdsaP521 ? KeyHash::kSha512
                                                : KeyHash::kSha256;
  }
  return scheme;
}

CertificateMaterial CertificateMaterial::Parse(const json::Cursor& from) {
  const auto certificate = from.Find("certificate");
  const auto chain = from.Find("x509CertificateChain");
  if (certificate.has_value() == chain.has_value() || from.Find("publicKey")) {
    from.Fail("expected a certificate or a chain");
  }
  CertificateMaterial material;
  material.chain = certificate ? std::vector{ParseCertificate(*certificate)} : ParseChain(*chain);
  if (const auto entries = from.Find("tlogEntries")) {
    material.entries = ParseEntries(*entries);
  }
  if (const auto timestamps = from.Find("timestampVerificationData")) {
    material.timestamps = ParseTimestamps(*timestamps);
  }
  return material;
}

CertificateMaterial CertificateMaterial::FromParts(std::string_view leaf, const json::Value& log_entries,
                                                   const json::Value& timestamps) {
  CertificateMaterial material;
  material.chain = {Certificate::Parse(leaf, "certificate of the signature")};
  if (!log_entries.is_null()) {
    material.entries = ParseEntries(json::Cursor(log_entries, "tlogEntries"));
  }
  if (!timestamps.is_null()) {
    material.timestamps = ParseTimestamps(json::Cursor(timestamps, "timestampVerificationData"));
  }
  return material;
}

CertificateMaterial CertificateMaterial::FromAnnotations(std::string_view certificate, std::string_view chain,
                                                         std::string_view bundle, std::string_view timestamp) {
  CertificateMaterial material;
  material.chain = Certificate::ParsePem(certificate, "certificate of the signature");
  if (material.chain.size() != 1) {
    throw Error(ErrorKind::kCorrupt, "certificate of the signature: expected one");
  }
  if (!chain.empty()) {
    for (Certificate& candidate : Certificate::ParsePem(chain, "chain of the signature")) {
      if (!candidate.self_signed()) {
        material.chain.push_back(std::move(candidate));
      }
    }
  }
  if (!bundle.empty()) {
    material.entries.push_back(RekorEntry::ParseCosign(bundle));
  }
  if (!timestamp.empty()) {
    const json::Value document = json::Parse(timestamp, "timestamp of the signature", 4);
    const json::Cursor root(document, "timestamp of the signature");
    root.OnlyKeys({"SignedRFC3161Timestamp"});
    material.timestamps.push_back(ProtoBytes(root.At("SignedRFC3161Timestamp"), kMaxTimestampBytes));
  }
  return material;
}

CertificateVerdict VerifyKeyless(SignedContent content, const CertificateMaterial& material, const TrustedRoot& trust,
                                 const KeylessRules& rules) {
  content.verifier = material.chain.front().der();
  return KeylessVerifier(content, material, trust, rules).Run();
}

CertificateVerdict VerifyPki(const SignedContent& content, const CertificateMaterial& material,
                             const std::vector<Certificate>& roots, const std::vector<Certificate>& intermediates,
                             const PkiRules& rules) {
  Checks checks;
  const Certificate& leaf = material.chain.front();
  std::vector<Certificate> candidates(material.chain.begin() + 1, material.chain.end());
  candidates.insert(candidates.end(), intermediates.begin(), intermediates.end());
  const Chain chain = BuildChain(leaf, candidates, roots, rules.now, kCodeSigningUsage);
  bool accepted = chain.problem ? checks.Fail(*chain.problem) : true;
  if (accepted) {
    checks.Pass("chain", "the certificate is of " + Quoted(leaf.issuer()) + " and valid at " + TimeText(rules.now));
    accepted = CheckSignature(leaf, content, rules.hash_of_curve, checks) && CheckPkiNames(leaf, rules, checks);
  }
  return checks.Take(accepted, Quoted(rules.email.empty() ? rules.hostname : rules.email));
}

}  // namespace gantry::sign
