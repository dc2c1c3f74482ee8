#include "libsign/evaluate.h"

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libsign/time_text.h"

namespace gantry::sign {
namespace {

Outcome Leaf(Outcome outcome, std::string text, std::vector<Step>& steps, size_t depth) {
  steps.push_back({outcome.code, outcome.met, std::move(text), depth});
  return outcome;
}

std::string Count(size_t n, std::string_view what) {
  return std::to_string(n) + " " + std::string(what) + (n == 1 ? "" : "s");
}

void Merge(Outcome& into, const Outcome& part) {
  into.signers.insert(part.signers.begin(), part.signers.end());
  if (!part.evidence.empty() && into.evidence.find(part.evidence) == std::string::npos) {
    into.evidence += (into.evidence.empty() ? "" : ", ") + part.evidence;
  }
}

// What is noted must let all of them pass again, so that the oldest of their times counts.
void MergePart(Outcome& into, const Outcome& part) {
  Merge(into, part);
  if (part.time) {
    into.time = std::min(into.time.value_or(*part.time), *part.time);
  }
}

Outcome EvaluateAnyOf(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                      size_t depth) {
  Outcome whole = Outcome::Refused(
      "none-met", "none of the " + Count(requirement.parts.size(), "requirement") + " of anyOf is met");
  std::string reasons;
  for (const Requirement& part : requirement.parts) {
    const Outcome outcome = EvaluatePart(question, part, steps, depth);
    if (!outcome.met) {
      reasons += (reasons.empty() ? ": " : "; ") + outcome.reason;
      continue;
    }
    whole.met = true;
    whole.code = outcome.code;
    MergePart(whole, outcome);
    if (!question.whole) {
      return whole;
    }
  }
  whole.reason = whole.met ? "" : whole.reason + reasons;
  return whole;
}

// Keys are counted and not signatures, nor requirements: who signs twice is one.
Outcome EvaluateThreshold(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                          size_t depth) {
  const Question everything{question.image, question.policy, question.evidence, true};
  Outcome whole;
  std::string reasons;
  for (const Requirement& part : requirement.parts) {
    const Outcome outcome = EvaluatePart(everything, part, steps, depth);
    if (outcome.met) {
      MergePart(whole, outcome);
    } else {
      reasons += "; " + outcome.reason;
    }
  }
  whole.met = whole.signers.size() >= requirement.count;
  whole.code = whole.met ? "signed" : "threshold-not-met";
  if (!whole.met) {
    whole.reason = "of " + Count(requirement.count, "key") + " that must sign, " +
                   std::to_string(whole.signers.size()) + " did" + reasons;
    whole.evidence.clear();
  }
  return whole;
}

}  // namespace

Outcome Outcome::Refused(std::string code, std::string reason) {
  return {false, std::move(code), std::move(reason), {}, {}, {}};
}

Outcome EvaluatePart(const Question& question, const Requirement& part, std::vector<Step>& steps, size_t depth) {
  const size_t at = steps.size();
  steps.push_back({});
  Outcome outcome = Evaluate(question, part, steps, depth + 1);
  steps[at] = {outcome.code, outcome.met, std::string(part.Name()) + (outcome.met ? " is met" : ": " + outcome.reason),
               depth};
  return outcome;
}

Outcome Evaluate(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth) {
  using Type = Requirement::Type;
  if (!requirement.certificates.is_null()) {
    return CheckCertificates(question, requirement, steps, depth);
  }
  switch (requirement.type) {
    case Type::kInsecureAcceptAnything: {
      const Policy& policy = question.policy;
      const std::string what = policy.accepts_anything() ? policy.source() : "insecureAcceptAnything";
      return Leaf({true, "accept-anything", {}, what, {}, {}}, what + " asks for nothing", steps, depth);
    }
    case Type::kReject:
      return Leaf(Outcome::Refused("rejected", "the policy rejects it"), "the policy rejects every image of this scope",
                  steps, depth);
    case Type::kSignedBy:
      return CheckSignedBy(question, requirement, steps, depth);
    case Type::kAppcSigned:
      return CheckAppcSigned(question, requirement, steps, depth);
    case Type::kSigstoreSigned:
    case Type::kIdentitySigned:
      return CheckByKey(question, requirement, steps, depth);
    case Type::kNotationSigned:
      return CheckNotary(question, requirement, steps, depth);
    case Type::kAnyOf:
      return EvaluateAnyOf(question, requirement, steps, depth);
    case Type::kThreshold:
      return EvaluateThreshold(question, requirement, steps, depth);
    default:
      break;
  }
  Outcome outcome =
      Outcome::Refused("unsupported-requirement", "requirement " + Quoted(requirement.Name()) + " is not supported");
  return Leaf(outcome, outcome.reason, steps, depth);
}

std::optional<Outcome> JudgeTime(const Question& question, const Requirement& requirement, const std::string& key,
                                 std::optional<int64_t> time) {
  const bool timed = requirement.not_before || requirement.never_older;
  if (timed && !time) {
    return Outcome::Refused("no-time", key + " did not sign when that was, and the policy asks for it");
  }
  if (requirement.not_before && *time < *requirement.not_before) {
    return Outcome::Refused("too-old", key + " signed it on " + TimeText(*time) + ", and the policy wants " +
                                           TimeText(*requirement.not_before) + " or later");
  }
  if (requirement.never_older && question.evidence.newest && *time < *question.evidence.newest) {
    return Outcome::Refused("rolled-back", key + " signed it on " + TimeText(*time) +
                                               ", older than what was accepted under this name, of " +
                                               TimeText(*question.evidence.newest));
  }
  return std::nullopt;
}

Outcome JudgeClaim(const Question& question, const Requirement& requirement, const Claim& claim) {
  const Judged& image = question.image;
  const Digest& manifest = image.descriptor().digest;
  const auto is_about = [&claim](const Digest& digest) {
    return std::find(claim.manifests.begin(), claim.manifests.end(), digest) != claim.manifests.end();
  };
  const std::string key = claim.signer.Describe();
  if (!is_about(manifest)) {
    if (claim.identity && !question.evidence.identity) {
      return Outcome::Refused("identity-unknown",
                              key + " signed an identity, and the layers that would show this image's are not here");
    }
    const bool same = claim.identity && question.evidence.identity() == *claim.identity;
    if (!same && image.index() && is_about(*image.index())) {
      return Outcome::Refused("signature-of-index",
                              key + " signed " + image.index()->str() + ", the index and not this platform's manifest");
    }
    if (!same) {
      const std::string what = claim.identity            ? "identity " + claim.identity->str()
                               : claim.manifests.empty() ? "no manifest"
                                                         : claim.manifests.front().str();
      return Outcome::Refused("digest-mismatch", key + " signed " + what + ", another image");
    }
  }
  if (!claim.name && requirement.identity.kind != IdentityRule::Kind::kMatchDigest) {
    return Outcome::Refused("no-name", key + " signed the digest alone and no name, and the policy wants " +
                                           requirement.identity.Describe(image.name()));
  }
  if (claim.name && !requirement.identity.Allows(image.name(), *claim.name)) {
    return Outcome::Refused("identity-mismatch", key + " signed it as " + Quoted(claim.name->ToString()) +
                                                     ", and the policy wants " +
                                                     requirement.identity.Describe(image.name()));
  }
  if (auto old = JudgeTime(question, requirement, key, claim.time)) {
    return *std::move(old);
  }
  const std::string as = claim.name ? " as " + Quoted(claim.name->ToString()) : "";
  return {true,
          "signed",
          key + " signed it" + as,
          std::string(requirement.Name()) + " " + claim.signer.id,
          {claim.signer.id},
          requirement.never_older ? claim.time : std::nullopt};
}

bool Verdicts::Add(size_t index, const Outcome& outcome) {
  steps_.push_back(
      {outcome.code, outcome.met, "signature " + std::to_string(index + 1) + ": " + outcome.reason, depth_});
  if (outcome.met) {
    Outcome merged = best_.met ? best_ : outcome;
    Merge(merged, outcome);
    if (outcome.time) {
      merged.time = std::max(merged.time.value_or(*outcome.time), *outcome.time);
    }
    best_ = std::move(merged);
  } else if (!best_.met) {
    // Several refused signatures in one line; the code stays only when it is the same for all.
    const bool same = !any_ || best_.code == outcome.code;
    best_ = Outcome::Refused(same ? outcome.code : "no-good-signature",
                             any_ ? best_.reason + "; " + outcome.reason : outcome.reason);
  }
  any_ = true;
  return best_.met && !question_.whole;
}

void Verdicts::Skip(size_t index, std::string code, const std::string& reason) {
  steps_.push_back({std::move(code), false, "signature " + std::to_string(index + 1) + ": " + reason, depth_});
}

Outcome Verdicts::Result(Outcome none) const {
  if (any_) {
    return best_;
  }
  steps_.push_back({none.code, false, none.reason, depth_});
  return none;
}

}  // namespace gantry::sign
