// The decision: does this image, with this evidence, meet this policy? An artifact is judged by the same rules.
//
// Decide answers with a value that explains itself; Verify and VerifyInChild turn the same answer into a VerifiedImage
// or a VerifiedArtifact, and nothing else in gantry can make one. Every step leaves a line with a stable code, so that
// a refusal says what was tried. What a signature must show is in libsign/evaluate.h.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/process.h"
#include "libimage/model/image.h"
#include "libsign/evidence.h"
#include "libsign/judged.h"
#include "libsign/policy.h"
#include "libsign/step.h"

namespace gantry::sign {

struct Decision {
  bool allowed = false;
  std::string image;                        // the name asked for, else the place ("aci:/srv/x.aci"), else the digest
  std::string digest;                       // of the manifest
  std::string policy;                       // where the policy was read
  std::string scope;                        // which of its scopes decided
  std::vector<std::string> requirements;    // of the scope, all of which must be met
  std::string requirement;                  // the one that decided: "signedBy", "reject", ...
  std::string evidence;                     // what met it: "signedBy <fingerprint>"; empty on refusal
  std::string code;                         // why, stable: "signed", "no-signature", ...
  std::string reason;                       // why, for people
  std::optional<image::Accepted> accepted;  // what is to be noted when the image is used
  std::vector<Step> steps;
  std::vector<std::string> looked_at;
  std::string hint;  // a command that would change a refusal

  json::Value ToJson() const;
  // Several lines, with a final newline.
  std::string Explain() const;
  // The Error (kRefused) of a refusal: image, reason and places in the message, the hint.
  Error Refusal() const;
};

// What is to be judged, and what speaks for it.
struct Candidate {
  image::FetchedImage image;
  Evidence evidence;
};

// How much of the evidence a decision looks at.
enum class Detail {
  kEnough,  // until it is clear
  kWhole,   // all of it, for people
};

class Verifier {
 public:
  // Throws where no decision is possible because a key or gpg cannot be used... never for what the image or its
  // signatures hold.
  static Decision Decide(const Judged& image, const Policy& policy, const Evidence& evidence,
                         Detail detail = Detail::kEnough);

  // What the image is accepted as: its name, else what the evidence says, and its platform. Empty when it has neither.
  static std::string ReferenceOf(const Judged& image, const Evidence& evidence);

  // Decides, and throws Decision::Refusal when the answer is no.
  static image::VerifiedImage Verify(image::FetchedImage image, const Policy& policy, const Evidence& evidence);
  static image::VerifiedArtifact Verify(image::FetchedArtifact artifact, const Policy& policy,
                                        const Evidence& evidence);

  // For a caller with privileges: Verify in a process of its own, the only one that touches bytes which nobody vouched
  // for. A forked child runs `confine`, `open` and Verify, and sends back the documents that passed. This process
  // parses those alone, and computes their digests again; that the policy allowed them, and the name and index that
  // they came by, is the child's word. nullopt when `open` finds no image. Throws what the child threw, in particular
  // Decision::Refusal, and kFailed when it died. No other thread may run when it begins (Process::Fork), for the child
  // allocates and computes; once it has begun, any may.
  static std::optional<image::VerifiedImage> VerifyInChild(const Policy& policy, const std::function<void()>& confine,
                                                           const std::function<std::optional<Candidate>()>& open);

  // The same for a caller who has something else to do while the child decides.
  class Pending;
  static Pending BeginInChild(const Policy& policy, const std::function<void()>& confine,
                              const std::function<std::optional<Candidate>()>& open);
};

// A decision that a child is about to make; destroyed before that, it ends the child.
class Verifier::Pending {
 public:
  std::optional<image::VerifiedImage> Wait();  // for the decision, not for the child's end; the last call

 private:
  friend class Verifier;
  Pending(UniqueFd answer, Process child) : answer_(std::move(answer)), child_(std::move(child)) {}

  UniqueFd answer_;
  Process child_;
};

}  // namespace gantry::sign
