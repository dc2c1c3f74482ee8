// appcSigned: detached OpenPGP signatures beside App Container Images, as rkt verifies them; see libsign/evaluate.h.
//
// The name of an ACI is in its manifest, among the bytes that are signed: that a key is trusted for the name is looked
// up before it is known whether the name is the signer's, but nothing else is done with it.
#include <algorithm>
#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libsign/evaluate.h"
#include "libsign/openpgp.h"

namespace gantry::sign {
namespace {

// Those that may sign one file, by what is trusted for its name where the requirement has none of its own.
struct Keys {
  std::vector<std::string> paths, datas;
  std::vector<TrustedKey> trusted;

  bool empty() const { return paths.empty() && datas.empty(); }
  // Of trusted keys a file may hold more than the one that it is named by.
  bool Has(const std::string& fingerprint) const {
    return trusted.empty() || std::ranges::any_of(trusted, [&](const TrustedKey& key) {
             return LowerAscii(fingerprint) == key.fingerprint;
           });
  }
};

Keys KeysFor(const Question& question, const Requirement& requirement, const AppcFile& file) {
  Keys keys{requirement.key_paths, requirement.key_datas, {}};
  if (!keys.empty()) {
    return keys;
  }
  keys.trusted = question.policy.trusted_keys().For(file.name);
  for (const TrustedKey& key : keys.trusted) {
    keys.paths.push_back(key.path);
  }
  return keys;
}

// What was hashed already need not be read again. Else the bytes that are read must be those that the image was made
// of, whoever writes to the file meanwhile.
SignedMessage VerifyBytes(const KeyRing& ring, const AppcFile& file) {
  if (auto answer = ring.VerifyHashed(*file.signature, *file.hashed)) {
    return *std::move(answer);
  }
  Hasher hasher(file.hashed->algorithm());
  const auto bytes = Tap(file.open(), [&](std::span<const std::byte> part) { hasher.Update(part); });
  SignedMessage answer = ring.VerifyDetached(*file.signature, *bytes);
  if (!answer.problem && hasher.Finish() != Hasher(*file.hashed).Finish()) {
    answer = {};
    answer.problem = BadSignature{"file-changed", "the file changed while it was read"};
  }
  return answer;
}

Outcome JudgeFile(const Question& question, const Requirement& requirement, const AppcFile& file) {
  const Keys keys = KeysFor(question, requirement, file);
  if (keys.empty()) {
    return Outcome::Refused("no-trusted-key", "no key is trusted for the name " + Quoted(file.name));
  }
  if (!file.signature || !file.open || !file.hashed) {
    return Outcome::Refused("no-signature", "no signature found: there is no " + Quoted(file.file + ".asc"));
  }
  std::optional<KeyRing> ring;
  try {
    ring.emplace(OpenKeyRing(keys.paths, keys.datas));
  } catch (const Error& error) {
    return Outcome::Refused("key-unusable", "a trusted key cannot be used: " + error.message());
  }
  const SignedMessage answer = VerifyBytes(*ring, file);
  if (answer.problem) {
    return Outcome::Refused(answer.problem->code, answer.problem->reason);
  }
  if (!keys.Has(answer.fingerprint)) {
    return Outcome::Refused("unknown-key",
                            "key " + answer.fingerprint + " made it, which lies in the file of another key");
  }
  const std::string key = "key " + answer.fingerprint;
  if (auto old = JudgeTime(question, requirement, key, answer.created)) {
    return *std::move(old);
  }
  return {true,
          "signed",
          key + " signed it as " + Quoted(file.name),
          std::string(requirement.Name()) + " " + answer.fingerprint,
          {answer.fingerprint},
          requirement.never_older ? std::optional(answer.created) : std::nullopt};
}

}  // namespace

Outcome CheckAppcSigned(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                        size_t depth) {
  const std::vector<AppcFile>& files = question.evidence.appc;
  Outcome whole = Outcome::Refused("not-an-aci", "it is no App Container Image");
  if (files.empty()) {
    steps.push_back({whole.code, false, whole.reason, depth});
    return whole;
  }
  // What was accepted before is about the image, not about what it depends on.
  Requirement of_dependencies = requirement;
  of_dependencies.never_older = false;
  // The image itself first, and it alone says who signed: whoever signed a dependency did not sign what depends on it.
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    const bool top = file == files.rbegin();
    if (!top && file->pinned) {
      steps.push_back({"pinned", true, file->file + ": what depends on it names its image ID", depth});
      continue;
    }
    Outcome outcome = JudgeFile(question, top ? requirement : of_dependencies, *file);
    steps.push_back({outcome.code, outcome.met, file->file + ": " + outcome.reason, depth});
    if (top) {
      whole = std::move(outcome);
    } else if (!outcome.met && whole.met) {
      whole = Outcome::Refused(outcome.code, "its dependency " + Quoted(file->file) + ": " + outcome.reason);
    }
    if (!whole.met && !question.whole) {
      return whole;
    }
  }
  return whole;
}

}  // namespace gantry::sign
