// Requirements against evidence: the part of a decision that looks at signatures. Internal to libsign; the decision is
// libsign/verify.h.
//
// A signature counts only after, in this order: its cryptography holds with a key of the requirement, the signed bytes
// are strictly what their kind asks for, they are about this manifest (or this identity), they carry a name that the
// requirement takes, and they are not too old. Each step leaves a line; none is taken from unsigned bytes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/model/image.h"
#include "libsign/evidence.h"
#include "libsign/judged.h"
#include "libsign/notary_policy.h"
#include "libsign/openpgp.h"
#include "libsign/policy.h"
#include "libsign/step.h"

namespace gantry::sign {

// What is decided about.
struct Question {
  const Judged& image;  // or the artifact
  const Policy& policy;
  const Evidence& evidence;
  bool whole = false;  // look at everything, not only until something suffices
};

// How one requirement came out.
struct Outcome {
  bool met = false;
  std::string code;
  std::string reason;             // of a refusal; of what is met: who signed what
  std::string evidence;           // of what met it: "signedBy <fingerprint>"
  std::set<std::string> signers;  // keys whose signatures count
  std::optional<int64_t> time;    // of neverOlder: when the newest of those was made; of several parts, the oldest

  static Outcome Refused(std::string code, std::string reason);
};

// Steps are appended, those of one part of a requirement deeper than those of the whole.
Outcome Evaluate(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth = 0);

// The same for one of several, under a line of its own that says how it came out.
Outcome EvaluatePart(const Question& question, const Requirement& part, std::vector<Step>& steps, size_t depth);

// Who made a good signature.
struct Signer {
  std::string id;          // a fingerprint, or whom a certificate was issued to: one that thresholds count
  bool certified = false;  // the latter

  std::string Describe() const { return certified ? id : "key " + id; }
};

// What a good signature says.
struct Claim {
  Signer signer;
  std::vector<Digest> manifests;                  // any of these
  std::optional<Digest> identity = std::nullopt;  // gantry-identity(5)
  std::optional<image::DockerReference> name = std::nullopt;
  std::optional<int64_t> time = std::nullopt;
};

// Whether it is about this image, under a name and at a time that the requirement takes.
Outcome JudgeClaim(const Question& question, const Requirement& requirement, const Claim& claim);

// Whether a signature by `key`, made at `time`, is too old for the requirement; nullopt when it is not.
std::optional<Outcome> JudgeTime(const Question& question, const Requirement& requirement, const std::string& key,
                                 std::optional<int64_t> time);

// Collects what single signatures came to, and their steps.
class Verdicts {
 public:
  Verdicts(const Question& question, std::vector<Step>& steps, size_t depth)
      : question_(question), steps_(steps), depth_(depth) {}

  // Notes how signature `index` (from 0) came out; true when nothing more need be looked at.
  bool Add(size_t index, const Outcome& outcome);
  // A signature of a kind that the requirement does not ask for.
  void Skip(size_t index, std::string code, const std::string& reason);

  // `none`, when no signature was of the kind.
  Outcome Result(Outcome none) const;

  // What `parse` returns; nullopt, with a verdict, when what was to be parsed is not what it says it is. Only parsing:
  // what the image itself holds may throw.
  template <typename Parse>
  auto Parsed(size_t index, const std::string& code, const std::string& what, Parse parse)
      -> std::optional<decltype(parse())> {
    try {
      return parse();
    } catch (const Error& error) {
      Add(index, Outcome::Refused(code, what + error.message()));
      return std::nullopt;
    }
  }

 private:
  const Question& question_;
  std::vector<Step>& steps_;
  size_t depth_;
  Outcome best_;
  bool any_ = false;
};

// The kinds. Each appends its steps at `depth`.
Outcome CheckSignedBy(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth);
// FILE.asc of the ACI, and of each that it depends on unless one that is good names it by its image ID.
Outcome CheckAppcSigned(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                        size_t depth);
// sigstoreSigned and identitySigned by key.
Outcome CheckByKey(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth);
// Where certificates, logs or timestamps decide.
Outcome CheckCertificates(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                          size_t depth);
Outcome CheckNotary(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth);

// The OpenPGP keys in files and in `datas`; throws for one that cannot be used.
KeyRing OpenKeyRing(const std::vector<std::string>& paths, const std::vector<std::string>& datas);

// What the two would load, for lint: throws for what cannot be used.
void RequireAuthorities(const Requirement& requirement);
void RequireNotaryTrust(const Requirement& requirement);
// The statements of the Notary Project's trust policy in `directory`.
std::vector<NotaryStatement> ReadNotaryStatements(const std::string& directory);

}  // namespace gantry::sign
