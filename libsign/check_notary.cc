// notationSigned: signatures of the Notary Project, by its trust policy and trust stores; see libsign/evaluate.h.
#include <ctime>
#include <optional>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/model/attachment.h"
#include "libsign/evaluate.h"
#include "libsign/notary.h"
#include "libsign/simple_signing.h"

namespace gantry::sign {
namespace {

using image::Attachment;

// A trust policy, and where it was read.
struct NotaryDocument {
  std::string path;
  NotaryPolicy policy;
};

NotaryDocument ReadPolicy(const std::string& directory) {
  const Dir root = Dir::Open(directory);
  const RelPath current = RelPath::Parse("trustpolicy.oci.json");
  const RelPath file = root.Exists(current) ? current : RelPath::Parse("trustpolicy.json");
  const std::string path = directory + "/" + file.str();
  NotaryPolicy policy = NotaryPolicy::Parse(root.ReadFile(file, kMaxNotaryPolicyBytes), path);
  return {path, std::move(policy)};
}

class NotaryCheck {
 public:
  NotaryCheck(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth)
      : question_(question),
        requirement_(requirement),
        steps_(steps),
        depth_(depth),
        verdicts_(question, steps, depth) {}

  Outcome Run() {
    try {
      Load();
    } catch (const Error& error) {
      return verdicts_.Result(
          Outcome::Refused("key-unusable", "the trust policy or its stores cannot be used: " + error.message()));
    }
    if (!statement_) {
      return verdicts_.Result(
          Outcome::Refused("no-statement", "no statement of " + Quoted(policy_path_) + " is about this image"));
    }
    if (statement_->skip) {
      Outcome skipped{.met = true, .code = "accept-anything", .evidence = std::string(requirement_.Name())};
      skipped.reason = "statement " + Quoted(statement_->name) + " of " + Quoted(policy_path_) + " asks for nothing";
      steps_.push_back({skipped.code, true, skipped.reason, depth_});
      return skipped;
    }
    const std::vector<std::string>& signatures = question_.evidence.signatures;
    for (size_t i = 0; i < signatures.size(); ++i) {
      if (StoredSignature::Detect(signatures[i]).format != StoredFormat::kSigstore) {
        verdicts_.Skip(i, "other-kind", "it is no signature of the Notary Project");
      } else if (Look(i, signatures[i])) {
        break;
      }
    }
    return verdicts_.Result(Outcome::Refused("no-signature", "no signature found"));
  }

 private:
  void Load() {
    const std::string& directory = requirement_.authority_paths.front();
    const NotaryDocument document = ReadPolicy(directory);
    policy_path_ = document.path;
    const auto& name = question_.image.name();
    if (const NotaryStatement* found = document.policy.For(name ? name->Repository() : "")) {
      statement_ = *found;
      trust_ = NotaryTrust::Load(directory, *found);
    }
  }

  // True when it suffices.
  bool Look(size_t index, const std::string& stored) {
    const auto attachment =
        verdicts_.Parsed(index, "not-understood", "", [&] { return Attachment::FromStored(stored).value(); });
    if (!attachment) {
      return false;
    }
    if (attachment->media_type != kJoseType && attachment->media_type != kCoseType) {
      verdicts_.Skip(index, "other-kind", "it is of type " + Quoted(attachment->media_type));
      return false;
    }
    const NotaryVerdict verdict = VerifyNotary(attachment->media_type, attachment->payload,
                                               question_.image.descriptor(), *statement_, trust_, now_);
    const bool enough = verdicts_.Add(index, OutcomeOf(verdict));
    for (Step step : verdict.steps) {
      step.depth = depth_ + 1;
      steps_.push_back(std::move(step));
    }
    return enough;
  }

  Outcome OutcomeOf(const NotaryVerdict& verdict) const {
    if (!verdict.accepted) {
      return Outcome::Refused(verdict.code, verdict.reason);
    }
    Outcome outcome{.met = true, .code = verdict.code, .reason = verdict.reason};
    outcome.evidence = std::string(requirement_.Name()) + " " + Quoted(verdict.signer);
    // Who may be anybody is nobody whom a threshold counts.
    if (statement_->authenticity == NotaryAction::kEnforce) {
      outcome.signers = {verdict.signer};
    }
    return outcome;
  }

  const Question& question_;
  const Requirement& requirement_;
  std::vector<Step>& steps_;
  size_t depth_;
  Verdicts verdicts_;
  int64_t now_ = std::time(nullptr);
  std::string policy_path_;
  std::optional<NotaryStatement> statement_;
  NotaryTrust trust_;
};

}  // namespace

std::vector<NotaryStatement> ReadNotaryStatements(const std::string& directory) {
  return ReadPolicy(directory).policy.statements();
}

void RequireNotaryTrust(const Requirement& requirement) {
  const std::string& directory = requirement.authority_paths.front();
  const NotaryDocument document = ReadPolicy(directory);
  for (const NotaryStatement& statement : document.policy.statements()) {
    static_cast<void>(NotaryTrust::Load(directory, statement));
  }
}

Outcome CheckNotary(const Question& question, const Requirement& requirement, std::vector<Step>& steps, size_t depth) {
  return NotaryCheck(question, requirement, steps, depth).Run();
}

}  // namespace gantry::sign
