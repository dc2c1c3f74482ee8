#include "libsign/verify.h"

#include <algorithm>
#include <optional>

#include "libsign/evaluate.h"

namespace gantry::sign {
namespace {

using image::FetchedImage;

std::string Joined(const std::vector<std::string>& texts, std::string_view separator) {
  std::string joined;
  for (const std::string& text : texts) {
    joined += (joined.empty() ? "" : std::string(separator)) + text;
  }
  return joined;
}

PolicyRule RuleOf(const FetchedImage& image, const Policy& policy, const Evidence& evidence) {
  if (!evidence.transport.empty()) {
    return policy.RuleFor(evidence.transport, evidence.path);
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
std::string HintFor(const FetchedImage& image, const Policy& policy, const std::string& code) {
  const std::string otherwise = "; --insecure-options=image lets this one command pass";
  if (!image.name()) {
    return "a policy can allow its place (gantry-policy(5))" + otherwise;
  }
  const image::DockerReference name = PolicyName(*image.name());
  if (code == "no-signature" || code == "identity-mismatch" || code == "digest-mismatch" ||
      code == "signature-of-index") {
    return "its signer can run: gantry sign --key KEY docker://" + name.ToString() + otherwise;
  }
  const std::string file = policy.named() ? "--policy " + ShellWord(policy.source()) + " " : "";
  return "to trust what a key signs: gantry trust add " + file + "--key KEYFILE docker://" + name.Repository() +
         otherwise;
}

}  // namespace

Decision Verifier::Decide(const FetchedImage& image, const Policy& policy, const Evidence& evidence, Detail detail) {
  const PolicyRule rule = RuleOf(image, policy, evidence);
  Decision decision;
  decision.digest = image.image().descriptor.digest.str();
  decision.image = image.name() ? image.name()->WithDefaultTag().ToString() : decision.digest;
  decision.policy = policy.source();
  decision.scope = rule.scope;
  decision.looked_at = evidence.looked_at;
  if (!policy.passed_over().empty()) {
    decision.steps.push_back({"policy-passed-over", true, policy.passed_over()});
  }
  const Question question{image, policy, evidence, detail == Detail::kWhole};
  std::vector<std::string> vouchers;
  decision.allowed = true;
  for (const Requirement& requirement : rule.requirements) {
    const Outcome outcome = Evaluate(question, requirement, decision.steps);
    if (!decision.allowed) {
      continue;  // decided, and looked at only to be shown
    }
    decision.requirement = requirement.Name();
    decision.code = outcome.code;
    if (!outcome.met) {
      decision.allowed = false;
      decision.reason = outcome.reason;
      decision.hint = HintFor(image, policy, outcome.code);
      if (!question.whole) {
        return decision;
      }
      continue;
    }
    if (outcome.time) {
      decision.time = std::max(decision.time.value_or(*outcome.time), *outcome.time);
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

image::VerifiedImage Verifier::Verify(FetchedImage image, const Policy& policy, const Evidence& evidence) {
  Decision decision = Decide(image, policy, evidence);
  if (!decision.allowed) {
    throw decision.Refusal();
  }
  return image::VerifiedImage(std::move(image), std::move(decision.evidence));
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
  return json::Object{{"allowed", allowed},   {"image", image},        {"digest", digest},
                      {"policy", policy},     {"scope", scope},        {"requirement", requirement},
                      {"evidence", evidence}, {"code", code},          {"reason", reason},
                      {"steps", lines},       {"lookedAt", looked_at}, {"hint", hint}};
}

std::string Decision::Explain() const {
  std::string text = "image     " + image + "\ndigest    " + digest + "\npolicy    " + policy + "\nscope     " + scope +
                     "\nrequires  " + requirement + "\n";
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
