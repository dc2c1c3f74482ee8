#include "libsign/verify.h"

#include <algorithm>
#include <optional>

#include "libsign/evaluate.h"

namespace gantry::sign {
namespace {

std::string Joined(const std::vector<std::string>& texts, std::string_view separator) {
  std::string joined;
  for (const std::string& text : texts) {
    joined += (joined.empty() ? "" : std::string(separator)) + text;
  }
  return joined;
}

std::optional<std::string> NameOfAci(const Evidence& evidence) {
  return evidence.appc.empty() ? std::nullopt : std::optional(evidence.appc.back().name);
}

PolicyRule RuleOf(const Judged& image, const Policy& policy, const Evidence& evidence) {
  if (!evidence.transport.empty()) {
    return policy.RuleFor(evidence.transport, evidence.path, NameOfAci(evidence));
  }
  return image.name() ? policy.RuleFor(*image.name()) : policy.DefaultRule();
}

std::string ShellWord(const std::string& text) {
  const bool plain = text.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                         "_-./:@=+,") == std::string::npos;
  if (plain && !text.empty()) {
    return text;
  }
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return quoted + "'";
}

// The command that would trust the image. A missing or wrongly named signature is the signer's to make; for all else a
// key is missing in the policy.
std::string HintFor(const Judged& image, const Policy& policy, const Evidence& evidence, const std::string& requirement,
                    const std::string& code) {
  const std::string otherwise = "; --insecure-options=image lets this one command pass";
  const std::string file = policy.named() ? "--policy " + ShellWord(policy.source()) + " " : "";
  if (const auto aci = image.name() ? std::nullopt : NameOfAci(evidence)) {
    if (code == "no-signature") {
      return "its signer can run: gantry sign --key KEY aci:" + ShellWord(evidence.appc.back().file) + otherwise;
    }
    return "to trust what a key signs: gantry trust add " + file + "--prefix " + ShellWord(*aci) + " KEYFILE" +
           otherwise;
  }
  if (!image.name()) {
    return "a policy can allow its place (gantry-policy(5))" + otherwise;
  }
  const image::DockerReference name = PolicyName(*image.name());
  if (code == "no-signature" || code == "identity-mismatch" || code == "digest-mismatch" ||
      code == "signature-of-index") {
    const bool identity = requirement == "identitySigned";
    if (identity && image.platform() == "artifact") {
      return "an artifact has no identity to attest: a policy can ask for another requirement for its name "
             "(gantry-policy(5))" +
             otherwise;
    }
    return "its signer can run: gantry sign " + std::string(identity ? "--identity " : "") + "--key KEY docker://" +
           name.ToString() + otherwise;
  }
  return "to trust what a key signs: gantry trust add " + file + "--key KEYFILE docker://" + name.Repository() +
         otherwise;
}

}  // namespace

Decision Verifier::Decide(const Judged& image, const Policy& policy, const Evidence& evidence, Detail detail) {
  const PolicyRule rule = RuleOf(image, policy, evidence);
  Decision decision;
  decision.digest = image.descriptor().digest.str();
  decision.image = image.name()            ? image.name()->WithDefaultTag().ToString()
                   : evidence.path.empty() ? decision.digest
                                           : evidence.transport + ":" + evidence.path;
  decision.policy = policy.source();
  decision.scope = rule.scope;
  decision.looked_at = evidence.looked_at;
  if (!policy.passed_over().empty()) {
    decision.steps.push_back({"policy-passed-over", true, policy.passed_over()});
  }
  const Question question{image, policy, evidence, detail == Detail::kWhole};
  const std::string reference = ReferenceOf(image, evidence);
  std::vector<std::string> vouchers;
  decision.allowed = true;
  const bool several = rule.requirements.size() > 1;
  for (const Requirement& requirement : rule.requirements) {
    decision.requirements.emplace_back(requirement.Name());
  }
  for (const Requirement& requirement : rule.requirements) {
    const Outcome outcome = several ? EvaluatePart(question, requirement, decision.steps, 0)
                                    : Evaluate(question, requirement, decision.steps);
    if (!decision.allowed) {
      continue;  // decided, and looked at only to be shown
    }
    decision.requirement = requirement.Name();
    decision.code = outcome.code;
    if (!outcome.met) {
      decision.allowed = false;
      decision.reason = outcome.reason;
      decision.hint = HintFor(image, policy, evidence, decision.requirement, outcome.code);
      if (!question.whole) {
        return decision;
      }
      continue;
    }
    if (outcome.time && !reference.empty()) {
      const int64_t before = decision.accepted ? decision.accepted->signed_at : *outcome.time;
      decision.accepted = image::Accepted{reference, std::min(before, *outcome.time)};
    }
    if (std::find(vouchers.begin(), vouchers.end(), outcome.evidence) == vouchers.end()) {
      vouchers.push_back(outcome.evidence);
    }
  }
  if (decision.allowed) {
    decision.evidence = Joined(vouchers, ", ");
    decision.reason = decision.evidence;
  }
  return decision;
}

std::string Verifier::ReferenceOf(const Judged& image, const Evidence& evidence) {
  const std::string name = image.name() ? PolicyName(*image.name()).ToString() : evidence.reference;
  return name.empty() ? "" : name + " " + image.platform();
}

image::VerifiedImage Verifier::Verify(image::FetchedImage image, const Policy& policy, const Evidence& evidence) {
  Decision decision = Decide(image, policy, evidence);
  if (!decision.allowed) {
    throw decision.Refusal();
  }
  return image::VerifiedImage(std::move(image), std::move(decision.evidence), std::move(decision.accepted));
}

image::VerifiedArtifact Verifier::Verify(image::FetchedArtifact artifact, const Policy& policy,
                                         const Evidence& evidence) {
  Decision decision = Decide(artifact, policy, evidence);
  if (!decision.allowed) {
    throw decision.Refusal();
  }
  return image::VerifiedArtifact(std::move(artifact), std::move(decision.evidence), std::move(decision.accepted));
}

json::Value Decision::ToJson() const {
  json::Array lines;
  for (const Step& step : steps) {
    json::Object line = {{"code", step.code}, {"passed", step.passed}, {"text", step.text}};
    if (step.depth > 0) {
      line.Append("depth", static_cast<uint64_t>(step.depth));
    }
    lines.emplace_back(std::move(line));
  }
  return json::Object{{"allowed", allowed},
                      {"image", image},
                      {"digest", digest},
                      {"policy", policy},
                      {"scope", scope},
                      {"requirement", requirement},
                      {"requirements", requirements},
                      {"evidence", evidence},
                      {"code", code},
                      {"reason", reason},
                      {"steps", lines},
                      {"lookedAt", looked_at},
                      {"hint", hint}};
}

std::string Decision::Explain() const {
  std::string text = "image     " + image + "\ndigest    " + digest + "\npolicy    " + policy + "\nscope     " + scope +
                     "\nrequires  " + Joined(requirements, ", ") + "\n";
  for (const std::string& place : looked_at) {
    text += "looked in " + place + "\n";
  }
  for (const Step& step : steps) {
    text += std::string(2 * step.depth, ' ') + (step.passed ? "  pass  " : "  fail  ") + step.code + ": " + step.text +
            "\n";
  }
  text += allowed ? "allowed: " + reason + "\n" : "refused (" + code + "): " + reason + "\n";
  return hint.empty() ? text : text + hint + "\n";
}

Error Decision::Refusal() const {
  std::string message = "image " + Quoted(image) + " is refused: " + reason + "; policy: " + policy + ", " + scope;
  for (const Step& step : steps) {
    message += step.code == "policy-passed-over" ? " (" + step.text + ")" : "";
  }
  if (!looked_at.empty()) {
    message += "; looked for signatures in " + Joined(looked_at, ", ");
  }
  return Error(ErrorKind::kRefused, std::move(message), hint);
}

}  // namespace gantry::sign
