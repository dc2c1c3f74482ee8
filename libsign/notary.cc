#include "libsign/notary.h"

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libsign/time_text.h"
#include "libsign/timestamp.h"
#include "libsign/x509_chain.h"

namespace gantry::sign {
namespace {

constexpr size_t kMaxNotaryPayloadBytes = 1024 * 1024;

class NotaryVerifier {
 public:
  NotaryVerifier(const image::Descriptor& target, const NotaryStatement& statement, const NotaryTrust& trust,
                 int64_t now)
      : target_(target), statement_(statement), trust_(trust), now_(now) {}

  NotaryVerdict Run(std::string_view media_type, std::string_view bytes) {
    if (statement_.skip) {
      verdict_.accepted = true;
      verdict_.code = "accept-anything";
      verdict_.reason = "statement " + Quoted(statement_.name) + " skips verification";
      verdict_.steps.push_back({verdict_.code, true, verdict_.reason});
      return std::move(verdict_);
    }
    if (CheckIntegrity(media_type, bytes) && CheckPayload() &&
        Check("authentic", statement_.authenticity, &NotaryVerifier::Authenticity) &&
        Check("timely", statement_.timestamp, &NotaryVerifier::Timestamping) &&
        Check("not-expired", statement_.expiry, &NotaryVerifier::Expiry) &&
        Check("not-revoked", statement_.revocation, &NotaryVerifier::RevocationOfSigner)) {
      verdict_.accepted = true;
      verdict_.code = "signed";
      verdict_.signer = envelope_->chain.front().subject();
      verdict_.reason = "signed by " + Quoted(verdict_.signer);
      verdict_.steps.push_back({"signed", true, verdict_.reason});
    }
    return std::move(verdict_);
  }

 private:
  using Problem = std::optional<Reason>;

  bool Refuse(const Reason& reason) {
    verdict_.steps.push_back({reason.code, false, reason.text});
    verdict_.code = reason.code;
    verdict_.reason = reason.text;
    return false;
  }

  bool Check(std::string_view passed, NotaryAction action, Problem (NotaryVerifier::*check)()) {
    if (action == NotaryAction::kSkip) {
      return true;
    }
    const Problem problem = (this->*check)();
    if (!problem) {
      verdict_.steps.push_back({std::string(passed), true, text_});
      return true;
    }
    if (action == NotaryAction::kEnforce) {
      return Refuse(*problem);
    }
    verdict_.steps.push_back({problem->code, false, problem->text + " (noted only)"});
    return true;
  }

  bool CheckIntegrity(std::string_view media_type, std::string_view bytes) {
    try {
      envelope_ = NotaryEnvelope::Parse(media_type, bytes);
    } catch (const Error& error) {
      return Refuse({"bad-envelope", error.message()});
    }
    if (const auto problem = CheckNotaryChain(envelope_->chain, envelope_->signing_time)) {
      return Refuse(*problem);
    }
    const Certificate& leaf = envelope_->chain.front();
    if (!leaf.key()->Accepts(envelope_->algorithm, envelope_->signed_bytes, envelope_->signature)) {
      return Refuse({"bad-signature", "the signature is not made with the certificate's key"});
    }
    verdict_.steps.push_back({"integrity", true, "the key of " + Quoted(leaf.subject()) + " signed it"});
    return true;
  }

  bool CheckPayload() {
    if (envelope_->content_type != kNotaryPayloadType || envelope_->payload.size() > kMaxNotaryPayloadBytes) {
      return Refuse({"bad-payload", "what was signed is not a payload of the Notary Project"});
    }
    try {
      const json::Value document = json::Parse(envelope_->payload, "signed payload", 16);
      const json::Cursor root(document, "signed payload");
      root.OnlyKeys({"targetArtifact"});
      const image::Descriptor about = image::Descriptor::Parse(root.At("targetArtifact"));
      if (about.digest != target_.digest || about.size != target_.size || about.media_type != target_.media_type) {
        return Refuse({"not-about-this-image", Quoted(envelope_->chain.front().subject()) + " signed " +
                                                   about.digest.str() + ", another image"});
      }
    } catch (const Error& error) {
      return Refuse({"bad-payload", error.message()});
    }
    return true;
  }

  Problem Authenticity() {
    const bool authority = envelope_->scheme == NotaryScheme::kSigningAuthority;
    const std::vector<Certificate>& trusted = authority ? trust_.signing_authority : trust_.ca;
    const auto& chain = envelope_->chain;
    const bool known = std::any_of(chain.begin(), chain.end(), [&](const Certificate& certificate) {
      return std::find(trusted.begin(), trusted.end(), certificate) != trusted.end();
    });
    if (!known) {
      return Reason{"untrusted-signer", "no certificate of " + Quoted(chain.front().subject()) +
                                            " is in a trust store of " + Quoted(statement_.name)};
    }
    for (const NotaryIdentity& identity : statement_.identities) {
      if (identity.Matches(chain.front())) {
        text_ = "trust policy " + Quoted(statement_.name) + " trusts " + Quoted(identity.ToString());
        return std::nullopt;
      }
    }
    return Reason{"identity-mismatch", "it was signed by " + Quoted(chain.front().subject()) + ", whom " +
                                           Quoted(statement_.name) + " does not name"};
  }

  const Certificate* ExpiredNow() const {
    const auto at = std::find_if(envelope_->chain.begin(), envelope_->chain.end(),
                                 [&](const Certificate& certificate) { return !certificate.ValidAt(now_); });
    return at == envelope_->chain.end() ? nullptr : &*at;
  }

  Problem Timestamping() {
    if (envelope_->scheme == NotaryScheme::kSigningAuthority) {
      text_ = "the signing authority says " + TimeText(envelope_->signing_time);
      return std::nullopt;  // all certificates were valid then: that was integrity
    }
    const Certificate* expired = ExpiredNow();
    const bool wanted = !statement_.tsa_stores.empty() && (statement_.timestamp_always || expired != nullptr);
    if (!wanted) {
      text_ = "all certificates are valid now";
      return expired == nullptr
                 ? Problem()
                 : Reason{now_ > expired->not_after() ? "certificate-expired" : "certificate-not-yet-valid",
                          "certificate " + Quoted(expired->subject()) + " is not valid now"};
    }
    return CheckToken();
  }

  Problem CheckToken() {
    if (envelope_->timestamp.empty()) {
      return Reason{"no-timestamp", "the signature has no timestamp"};
    }
    const Timestamp stamp = VerifyTimestampToken(envelope_->timestamp, envelope_->signature, {}, trust_.tsa);
    if (stamp.problem) {
      return stamp.problem;
    }
    for (const Certificate& certificate : envelope_->chain) {
      if (!certificate.ValidAt(stamp.earliest) || !certificate.ValidAt(stamp.latest)) {
        return Reason{stamp.latest > certificate.not_after() ? "certificate-expired" : "certificate-not-yet-valid",
                      "certificate " + Quoted(certificate.subject()) + " was not valid at " + TimeText(stamp.time)};
      }
    }
    text_ = Quoted(stamp.chain.front().subject()) + " saw the signature at " + TimeText(stamp.time);
    return CheckRevocationOf(stamp.chain, std::nullopt);
  }

  Problem Expiry() {
    if (!envelope_->expiry) {
      text_ = "the signature does not expire";
      return std::nullopt;
    }
    text_ = "the signature expires at " + TimeText(*envelope_->expiry);
    return now_ <= *envelope_->expiry
               ? Problem()
               : Reason{"expired-signature", "the signature expired at " + TimeText(*envelope_->expiry)};
  }

  Problem RevocationOfSigner() {
    const bool authority = envelope_->scheme == NotaryScheme::kSigningAuthority;
    auto problem =
        CheckRevocationOf(envelope_->chain, authority ? std::optional(envelope_->signing_time) : std::nullopt);
    text_ = "no certificate is revoked";
    return problem;
  }

  // A certificate that became invalid only after `authentic_time` signed while it was good.
  Problem CheckRevocationOf(const std::vector<Certificate>& chain, std::optional<int64_t> authentic_time) const {
    for (size_t i = 0; i + 1 < chain.size(); ++i) {
      const std::string name = "certificate " + Quoted(chain[i].subject());
      const Revocation revocation = CheckRevocation(chain[i], chain[i + 1], trust_.revocation_lists, now_);
      if (revocation.status == RevocationStatus::kRevoked) {
        const bool later = authentic_time && revocation.invalid_since && *revocation.invalid_since > *authentic_time;
        if (!later) {
          return Reason{"revoked-certificate", name + " is " + revocation.text};
        }
      } else if (revocation.status == RevocationStatus::kUnknown && chain[i].names_revocation()) {
        return Reason{"revocation-unknown", name + ": " + revocation.text};
      }
    }
    return std::nullopt;
  }

  const image::Descriptor& target_;
  const NotaryStatement& statement_;
  const NotaryTrust& trust_;
  int64_t now_;
  std::optional<NotaryEnvelope> envelope_;
  std::string text_;  // of the check that is passing
  NotaryVerdict verdict_;
};

}  // namespace

std::optional<Reason> CheckNotaryChain(const std::vector<Certificate>& chain, int64_t time) {
  if (chain.empty()) {
    return Reason{"bad-chain", "no certificate"};
  }
  const Certificate& leaf = chain.front();
  const std::string name = "certificate " + Quoted(leaf.subject());
  if (leaf.is_ca() || leaf.key_usage() != kDigitalSignature || !leaf.IsCritical(kKeyUsageOid)) {
    return Reason{"wrong-usage", name + " is not critically for digital signatures alone"};
  }
  for (const std::string_view others :
       {kAnyUsage, kServerAuthUsage, kClientAuthUsage, kEmailUsage, kTimestampingUsage, kOcspUsage}) {
    const auto& usages = leaf.extended_key_usage();
    if (usages && std::find(usages->begin(), usages->end(), others) != usages->end()) {
      return Reason{"wrong-usage", name + " is for another use, too (" + std::string(others) + ")"};
    }
  }
  if (leaf.self_signed() && !leaf.WellSigned()) {
    return Reason{"weak-digest", name + " is signed over " + leaf.digest_name()};
  }
  const bool codes = leaf.extended_key_usage().has_value();
  return CheckOrderedChain(chain, time, codes ? kCodeSigningUsage : "");
}

NotaryVerdict VerifyNotary(std::string_view media_type, std::string_view envelope, const image::Descriptor& target,
                           const NotaryStatement& statement, const NotaryTrust& trust, int64_t now) {
  return NotaryVerifier(target, statement, trust, now).Run(media_type, envelope);
}

std::string NotaryPayload(const image::Descriptor& target) {
  const image::Descriptor bare{target.media_type, target.digest, target.size};
  return json::Print(json::Object{{"targetArtifact", bare.ToJson()}});
}

}  // namespace gantry::sign
