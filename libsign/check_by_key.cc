// sigstoreSigned and identitySigned with bare keys; see libsign/evaluate.h.
#include <optional>
#include <set>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/model/attachment.h"
#include "libsign/bundle.h"
#include "libsign/claims.h"
#include "libsign/evaluate.h"
#include "libsign/simple_signing.h"

namespace gantry::sign {
namespace {

using image::Attachment;

class KeyCheck {
 public:
  KeyCheck(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth)
      : question_(question),
        requirement_(requirement),
        verdicts_(question, steps, depth),
        judge_(question, requirement, verdicts_) {}

  Outcome Run() {
    const std::vector<std::string>& signatures = question_.evidence.signatures;
    for (size_t i = 0; i < signatures.size(); ++i) {
      if (StoredSignature::Detect(signatures[i]).format != StoredFormat::kSigstore) {
        verdicts_.Skip(i, "other-kind", "it is no sigstore signature");
        continue;
      }
      try {
        if (!keys_) {
          keys_ = requirement_.OpenKeys();
        }
      } catch (const Error& error) {
        return verdicts_.Result(
            Outcome::Refused("key-unusable", "a key of the policy cannot be used: " + error.message()));
      }
      if (Look(i, signatures[i])) {
        break;
      }
    }
    return verdicts_.Result(Outcome::Refused("no-signature", "no signature found"));
  }

 private:
  // True when it suffices.
  bool Look(size_t index, const std::string& stored) {
    const auto attachment =
        verdicts_.Parsed(index, "not-understood", "", [&] { return Attachment::FromStored(stored).value(); });
    if (!attachment) {
      return false;
    }
    if (attachment->media_type == image::kSimpleSigningType) {
      return LookAtPayload(index, *attachment);
    }
    if (attachment->media_type == image::kBundleType) {
      return LookAtBundle(index, attachment->payload);
    }
    if (attachment->media_type == image::kDsseType) {
      const auto envelope =
          verdicts_.Parsed(index, "not-understood", "", [&] { return DsseEnvelope::Parse(attachment->payload); });
      return envelope && LookAtEnvelope(index, *envelope);
    }
    verdicts_.Skip(index, "other-kind", "it is of type " + Quoted(attachment->media_type));
    return false;
  }

  bool LookAtPayload(size_t index, const Attachment& attachment) {
    if (requirement_.type == Requirement::Type::kIdentitySigned) {
      verdicts_.Skip(index, "other-kind", "it is no attestation");
      return false;
    }
    const auto annotation = attachment.annotations.find(std::string(image::kSignatureAnnotation));
    const auto signature = annotation == attachment.annotations.end() ? std::nullopt : DecodeBase64(annotation->second);
    if (!signature) {
      return verdicts_.Add(index, Outcome::Refused("not-understood", "it lacks the annotation with the signature"));
    }
    const auto signer = SignerOf(attachment.payload, *signature);
    if (!signer) {
      return verdicts_.Add(index, NoKey());
    }
    return judge_.Payload(index, attachment.payload, {*signer});
  }

  bool LookAtBundle(size_t index, std::string_view text) {
    const auto bundle = verdicts_.Parsed(index, "not-understood", "", [&] { return Bundle::Parse(text); });
    if (!bundle) {
      return false;
    }
    if (!bundle->certificate.empty()) {
      verdicts_.Skip(index, "other-kind", "it goes by a certificate and not by a key");
      return false;
    }
    return bundle->envelope ? LookAtEnvelope(index, *bundle->envelope) : LookAtMessage(index, *bundle->message);
  }

  bool LookAtMessage(size_t index, const MessageSignature& message) {
    if (requirement_.type == Requirement::Type::kIdentitySigned) {
      verdicts_.Skip(index, "other-kind", "it is no attestation");
      return false;
    }
    const std::string& manifest = question_.image.manifest_bytes();
    if (!message.IsAbout(manifest)) {
      return verdicts_.Add(index, Outcome::Refused("digest-mismatch", "the bundle is about another image"));
    }
    const auto signer = SignerOf(manifest, message.bytes);
    return signer ? judge_.Manifest(index, {*signer}) : verdicts_.Add(index, NoKey());
  }

  // An envelope may have signatures by several keys, each of which counts.
  bool LookAtEnvelope(size_t index, const DsseEnvelope& envelope) {
    const std::string message = envelope.SignedBytes();
    std::set<std::string> signers;
    for (const DsseSignature& signature : envelope.signatures) {
      if (auto signer = SignerOf(message, signature.bytes)) {
        signers.insert(*std::move(signer));
      }
    }
    if (signers.empty()) {
      return verdicts_.Add(index, NoKey());
    }
    bool enough = false;
    for (const std::string& signer : signers) {
      enough = judge_.Envelope(index, envelope, {signer}) || enough;
    }
    return enough;
  }

  std::optional<std::string> SignerOf(std::string_view message, std::string_view signature) const {
    for (const PublicKey& key : *keys_) {
      if (key.Accepts(requirement_.algorithm.value_or(Scheme::DefaultFor(key.kind())), message, signature)) {
        return key.fingerprint();
      }
    }
    return std::nullopt;
  }

  static Outcome NoKey() {
    return Outcome::Refused("bad-signature", "no key of the policy made it, or what it signed was changed");
  }

  const Question& question_;
  const Requirement& requirement_;
  Verdicts verdicts_;
  ClaimJudge judge_;
  std::optional<std::vector<PublicKey>> keys_;
};

}  // namespace

Outcome CheckByKey(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth) {
  return KeyCheck(question, requirement, steps, depth).Run();
}

}  // namespace gantry::sign
