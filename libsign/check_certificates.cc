// Requirements that certificates, logs or timestamps decide; see libsign/evaluate.h.
#include "libimage/base/error.h"
#include "libsign/evaluate.h"

namespace gantry::sign {

Outcome CheckCertificates(const Question& question, const Requirement& requirement, std::vector<Step>& steps,
                          size_t depth) {
  return Verdicts(question, steps, depth)
      .Result(Outcome::Refused("unsupported-requirement", "requirement " + Quoted(requirement.Name()) +
                                                              " by certificate or log is not supported"));
}

}  // namespace gantry::sign
