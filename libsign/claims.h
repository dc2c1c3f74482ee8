// What good sigstore signatures are over, made into claims and judged. Internal to libsign, as libsign/evaluate.h is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libsign/dsse.h"
#include "libsign/evaluate.h"
#include "libsign/statement.h"

namespace gantry::sign {

// What each subject of a statement claims.
std::vector<Claim> ClaimsOf(const Statement& statement, const Signer& signer);

// Each operation notes what became of signature `index`, whose cryptography holds, and is true when nothing more need
// be looked at.
class ClaimJudge {
 public:
  // Refers to all three.
  ClaimJudge(const Question& question, const Requirement& requirement, Verdicts& verdicts)
      : question_(question), requirement_(requirement), verdicts_(verdicts) {}

  // A simple-signing payload, in cosign's form.
  bool Payload(size_t index, std::string_view payload, const Signer& signer);
  // The payload of an envelope: an in-toto statement with the predicate that the requirement asks for.
  bool Envelope(size_t index, const DsseEnvelope& envelope, const Signer& signer);
  // The bytes of this image's manifest, and so no name.
  bool Manifest(size_t index, const Signer& signer);

 private:
  Outcome BestOf(const std::vector<Claim>& claims) const;
  template <typename Parse>
  auto ParsedPayload(size_t index, const Signer& signer, Parse parse) {
    return verdicts_.Parsed(index, "bad-payload", "what " + signer.Describe() + " signed is no image claim: ", parse);
  }

  const Question& question_;
  const Requirement& requirement_;
  Verdicts& verdicts_;
};

}  // namespace gantry::sign
