// sigstoreSigned and identitySigned with bare keys; see libsign/evaluate.h.
#include <cstdint>
#include <optional>
#include <set>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/attachment.h"
#include "libsign/bundle.h"
#include "libsign/evaluate.h"
#include "libsign/simple_signing.h"
#include "libsign/statement.h"

namespace gantry::sign {
namespace {

using image::Attachment;
using image::DockerReference;

std::vector<PublicKey> OpenKeys(const Requirement& requirement) {
  std::vector<PublicKey> keys;
  for (const std::string& path : requirement.key_paths) {
    keys.push_back(PublicKey::Parse(ReadFile(path, kMaxPublicKeyBytes), Quoted(path)));
  }
  for (const std::string& data : requirement.key_datas) {
    keys.push_back(PublicKey::Parse(data, "keyData"));
  }
  return keys;
}

std::optional<DockerReference> NameIn(const std::string& text) {
  try {
    return text.empty() ? std::nullopt : std::optional(DockerReference::Parse(text));
  } catch (const Error&) {
    return std::nullopt;  // subjects may be called anything
  }
}

std::optional<Digest> DigestIn(const Subject& subject, std::string_view algorithm, std::string_view prefix) {
  const auto found = subject.digests.find(std::string(algorithm));
  return found == subject.digests.end() ? std::nullopt : Digest::TryParse(std::string(prefix) + ":" + found->second);
}

Claim ClaimOf(const Statement& statement, const Subject& subject, const std::string& signer) {
  Claim claim{.signer = signer};
  for (const std::string_view algorithm : {"sha256", "sha512"}) {
    if (const auto digest = DigestIn(subject, algorithm, algorithm)) {
      claim.manifests.push_back(*digest);
    }
  }
  if (statement.predicate_type == kIdentityPredicate) {
    claim.identity = DigestIn(subject, kIdentityDigest, "sha256");
  }
  claim.name = NameIn(subject.name);
  if (const json::Value* time = statement.predicate.object()->Find("timestamp")) {
    claim.time = json::Cursor(*time, "timestamp").Integer(INT64_MIN, INT64_MAX);
  }
  return claim;
}

class KeyCheck {
 public:
  KeyCheck(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth)
      : question_(question), requirement_(requirement), verdicts_(question, steps, depth) {}

  Outcome Run() {
    const std::vector<std::string>& signatures = question_.evidence.signatures;
    for (size_t i = 0; i < signatures.size(); ++i) {
      if (StoredSignature::Detect(signatures[i]).format != StoredFormat::kSigstore) {
        verdicts_.Skip(i, "other-kind", "it is no sigstore signature");
        continue;
      }
      try {
        if (!keys_) {
          keys_ = OpenKeys(requirement_);
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
  // What `parse` returns; nullopt, with a verdict, when what was to be parsed is not what it says it is. Only parsing:
  // what the image itself holds may throw.
  template <typename Parse>
  auto Parsed(size_t index, const std::string& code, const std::string& what, Parse parse)
      -> std::optional<decltype(parse())> {
    try {
      return parse();
    } catch (const Error& error) {
      verdicts_.Add(index, Outcome::Refused(code, what + error.message()));
      return std::nullopt;
    }
  }
  template <typename Parse>
  auto ParsedPayload(size_t index, const std::string& signer, Parse parse) {
    return Parsed(index, "bad-payload", "what key " + signer + " signed is no image claim: ", parse);
  }

  // True when it suffices.
  bool Look(size_t index, const std::string& stored) {
    const auto attachment = Parsed(index, "not-understood", "", [&] { return Attachment::FromStored(stored).value(); });
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
          Parsed(index, "not-understood", "", [&] { return DsseEnvelope::Parse(attachment->payload); });
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
    const auto claim =
        ParsedPayload(index, *signer, [&] { return SimpleClaim::Parse(attachment.payload, PayloadKind::kCosign); });
    return claim &&
           verdicts_.Add(index, JudgeClaim(question_, requirement_,
                                           {*signer, {claim->manifest}, {}, claim->reference, claim->timestamp}));
  }

  bool LookAtBundle(size_t index, std::string_view text) {
    const auto bundle = Parsed(index, "not-understood", "", [&] { return Bundle::Parse(text); });
    if (!bundle) {
      return false;
    }
    if (!bundle->certificate.empty()) {
      verdicts_.Skip(index, "other-kind", "it goes by a certificate and not by a key");
      return false;
    }
    if (!bundle->envelope) {
      return verdicts_.Add(index, Outcome::Refused("not-understood", "the bundle holds no statement"));
    }
    return LookAtEnvelope(index, *bundle->envelope);
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
    if (envelope.payload_type != kInTotoType) {
      return verdicts_.Add(
          index, Outcome::Refused("bad-payload", "what key " + *signers.begin() + " signed is no in-toto statement"));
    }
    bool enough = false;
    for (const std::string& signer : signers) {
      enough = LookAtStatement(index, envelope.payload, signer) || enough;
    }
    return enough;
  }

  bool LookAtStatement(size_t index, std::string_view payload, const std::string& signer) {
    const auto statement = ParsedPayload(index, signer, [&] { return Statement::Parse(payload); });
    if (!statement) {
      return false;
    }
    const bool by_identity = requirement_.type == Requirement::Type::kIdentitySigned;
    const std::string_view wanted = by_identity ? kIdentityPredicate : kCosignPredicate;
    if (statement->predicate_type != wanted) {
      verdicts_.Skip(index, "other-predicate",
                     "key " + signer + " attests " + Quoted(statement->predicate_type) + ", and the policy asks for " +
                         Quoted(wanted));
      return false;
    }
    const auto claims = ParsedPayload(index, signer, [&] { return ClaimsOf(*statement, signer); });
    return claims && verdicts_.Add(index, BestOf(*claims));
  }

  static std::vector<Claim> ClaimsOf(const Statement& statement, const std::string& signer) {
    std::vector<Claim> claims;
    for (const Subject& subject : statement.subjects) {
      claims.push_back(ClaimOf(statement, subject, signer));
    }
    return claims;
  }

  Outcome BestOf(const std::vector<Claim>& claims) const {
    Outcome last;
    for (const Claim& claim : claims) {
      last = JudgeClaim(question_, requirement_, claim);
      if (last.met) {
        break;
      }
    }
    return last;
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
  std::optional<std::vector<PublicKey>> keys_;
};

}  // namespace

Outcome CheckByKey(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth) {
  return KeyCheck(question, requirement, steps, depth).Run();
}

}  // namespace gantry::sign
