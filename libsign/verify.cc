#include "libsign/verify.h"

#include <algorithm>
#include <optional>

#include "libimage/base/fd.h"
#include "libsign/openpgp.h"
#include "libsign/simple_signing.h"

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

// How one requirement came out.
struct Outcome {
  bool met = false;
  std::string code;
  std::string reason;    // of a refusal
  std::string evidence;  // of what met it
};

KeyRing OpenKeys(const Requirement& requirement) {
  if (requirement.key_paths.empty()) {
    return KeyRing({requirement.key_data}, {"keyData"});
  }
  std::vector<std::string> keys;
  for (const std::string& path : requirement.key_paths) {
    keys.push_back(ReadFile(path, kMaxKeyBytes));
  }
  return KeyRing(keys, requirement.key_paths);
}

class SignedByCheck {
 public:
  SignedByCheck(const FetchedImage& image, const Requirement& requirement, const Evidence& evidence,
                std::vector<Step>& steps)
      : image_(image), requirement_(requirement), evidence_(evidence), steps_(steps) {}

  Outcome Run() {
    if (requirement_.key_type != "GPGKeys") {
      return Fail("unsupported-requirement", "keys of type " + Quoted(requirement_.key_type) + " are not supported");
    }
    if (evidence_.simple_signatures.empty()) {
      return Fail("no-signature", "no signature found");
    }
    std::optional<KeyRing> keys;
    try {
      keys.emplace(OpenKeys(requirement_));
    } catch (const Error& error) {
      return Fail("key-unusable", "a key of the policy cannot be used: " + error.message());
    }
    Outcome best;
    for (size_t i = 0; i < evidence_.simple_signatures.size(); ++i) {
      Outcome outcome = Judge(evidence_.simple_signatures[i], *keys);
      steps_.push_back({outcome.code, outcome.met, "signature " + std::to_string(i + 1) + ": " + outcome.reason});
      if (outcome.met) {
        return outcome;
      }
      best = i == 0 ? outcome : Merge(best, outcome);
    }
    return best;
  }

 private:
  Outcome Fail(std::string code, std::string reason) {
    steps_.push_back({code, false, reason});
    return {false, std::move(code), std::move(reason), {}};
  }

  // Several refused signatures in one line; the code stays only when it is the same for all.
  static Outcome Merge(const Outcome& so_far, const Outcome& next) {
    const bool same = so_far.code == next.code;
    return {false, same ? so_far.code : "no-good-signature", so_far.reason + "; " + next.reason, {}};
  }

  Outcome Judge(std::string_view blob, const KeyRing& keys) const {
    const StoredSignature stored = StoredSignature::Detect(blob);
    if (stored.format != StoredFormat::kOpenPgp) {
      return {false,
              "not-understood",
              stored.format == StoredFormat::kSigstore ? "it is a sigstore signature, which no requirement asks for"
                                                       : "it is not a binary OpenPGP signature",
              {}};
    }
    const SignedMessage message = keys.Verify(stored.message);
    if (message.problem) {
      return {false, message.problem->code, message.problem->reason, {}};
    }
    try {
      return JudgeClaim(SimpleClaim::Parse(message.payload), message.fingerprint);
    } catch (const Error& error) {
      return {false,
              "bad-payload",
              "what key " + message.fingerprint + " signed is no image claim: " + error.message(),
              {}};
    }
  }

  // The signature is good; is it about this image, under this name?
  Outcome JudgeClaim(const SimpleClaim& claim, const std::string& fingerprint) const {
    const Digest& manifest = image_.image().descriptor.digest;
    if (claim.manifest != manifest) {
      const bool index = image_.index() && claim.manifest == *image_.index();
      return {false,
              index ? "signature-of-index" : "digest-mismatch",
              "key " + fingerprint + " signed " + claim.manifest.str() +
                  (index ? ", the index and not this platform's manifest" : ", another image"),
              {}};
    }
    if (!requirement_.identity.Allows(image_.name(), claim.reference)) {
      return {false,
              "identity-mismatch",
              "key " + fingerprint + " signed it as " + Quoted(claim.reference.ToString()) + ", and the policy wants " +
                  requirement_.identity.Describe(image_.name()),
              {}};
    }
    return {true, "signed", "key " + fingerprint + " signed it as " + Quoted(claim.reference.ToString()),
            "signedBy " + fingerprint};
  }

  const FetchedImage& image_;
  const Requirement& requirement_;
  const Evidence& evidence_;
  std::vector<Step>& steps_;
};

Outcome Evaluate(const FetchedImage& image, const Policy& policy, const Requirement& requirement,
                 const Evidence& evidence, std::vector<Step>& steps) {
  switch (requirement.type) {
    case Requirement::Type::kInsecureAcceptAnything: {
      const std::string what = policy.accepts_anything() ? policy.source() : "insecureAcceptAnything";
      steps.push_back({"accept-anything", true, what + " asks for nothing"});
      return {true, "accept-anything", {}, what};
    }
    case Requirement::Type::kReject:
      steps.push_back({"rejected", false, "the policy rejects every image of this scope"});
      return {false, "rejected", "the policy rejects it", {}};
    case Requirement::Type::kSignedBy:
      return SignedByCheck(image, requirement, evidence, steps).Run();
    default:
      break;
  }
  const std::string reason = "requirement " + Quoted(requirement.Name()) + " is not supported";
  steps.push_back({"unsupported-requirement", false, reason});
  return {false, "unsupported-requirement", reason, {}};
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

Decision Verifier::Decide(const FetchedImage& image, const Policy& policy, const Evidence& evidence) {
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
  std::vector<std::string> vouchers;
  for (const Requirement& requirement : rule.requirements) {
    const Outcome outcome = Evaluate(image, policy, requirement, evidence, decision.steps);
    decision.requirement = requirement.Name();
    decision.code = outcome.code;
    if (!outcome.met) {
      decision.reason = outcome.reason;
      decision.hint = HintFor(image, policy, outcome.code);
      return decision;
    }
    if (std::find(vouchers.begin(), vouchers.end(), outcome.evidence) == vouchers.end()) {
      vouchers.push_back(outcome.evidence);
    }
  }
  decision.allowed = true;
  decision.evidence = Joined(vouchers, ", ");
  decision.reason = decision.evidence;
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
    lines.push_back(json::Object{{"code", step.code}, {"passed", step.passed}, {"text", step.text}});
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
    text += std::string(step.passed ? "  pass  " : "  fail  ") + step.code + ": " + step.text + "\n";
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
