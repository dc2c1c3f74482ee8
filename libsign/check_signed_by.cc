// signedBy: OpenPGP signatures in the form of the containers tools; see libsign/evaluate.h.
#include <optional>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/evaluate.h"
#include "libsign/openpgp.h"
#include "libsign/simple_signing.h"

namespace gantry::sign {
namespace {

Outcome Judge(const Question& question, const Requirement& requirement, const StoredSignature& stored,
              const KeyRing& keys) {
  if (stored.format != StoredFormat::kOpenPgp) {
    return Outcome::Refused("not-understood", "it is not a binary OpenPGP signature");
  }
  const SignedMessage message = keys.Verify(stored.message);
  if (message.problem) {
    return Outcome::Refused(message.problem->code, message.problem->reason);
  }
  try {
    const SimpleClaim claim = SimpleClaim::Parse(message.payload);
    return JudgeClaim(question, requirement,
                      {{message.fingerprint}, {claim.manifest}, std::nullopt, claim.reference, message.created});
  } catch (const Error& error) {
    return Outcome::Refused("bad-payload",
                            "what key " + message.fingerprint + " signed is no image claim: " + error.message());
  }
}

}  // namespace

KeyRing OpenKeyRing(const std::vector<std::string>& paths, const std::vector<std::string>& datas) {
  std::vector<std::string> keys;
  for (const std::string& path : paths) {
    keys.push_back(ReadFile(path, kMaxKeyBytes));
  }
  keys.insert(keys.end(), datas.begin(), datas.end());
  std::vector<std::string> names = paths;
  names.resize(keys.size(), "keyData");
  return KeyRing(keys, names);
}

Outcome CheckSignedBy(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                      size_t depth) {
  Verdicts verdicts(question, steps, depth);
  if (requirement.key_type != "GPGKeys") {
    return verdicts.Result(Outcome::Refused("unsupported-requirement",
                                            "keys of type " + Quoted(requirement.key_type) + " are not supported"));
  }
  std::optional<KeyRing> keys;
  for (size_t i = 0; i < question.evidence.signatures.size(); ++i) {
    const StoredSignature stored = StoredSignature::Detect(question.evidence.signatures[i]);
    if (stored.format == StoredFormat::kSigstore) {
      verdicts.Skip(i, "other-kind", "it is no OpenPGP signature");
      continue;
    }
    try {
      if (!keys) {
        keys.emplace(OpenKeyRing(requirement.key_paths, requirement.key_datas));
      }
    } catch (const Error& error) {
      return verdicts.Result(
          Outcome::Refused("key-unusable", "a key of the policy cannot be used: " + error.message()));
    }
    if (verdicts.Add(i, Judge(question, requirement, stored, *keys))) {
      break;
    }
  }
  return verdicts.Result(Outcome::Refused("no-signature", "no signature found"));
}

}  // namespace gantry::sign
