// What is probably not meant in a policy: gantry-trust(1), lint. A policy that loads can still trust everybody, nobody,
// or a name that no image has.
#pragma once

#include <string>
#include <vector>

#include "libsign/policy.h"

namespace gantry::sign {

struct Finding {
  std::string code;  // "unreadable-key", stable
  std::string scope;
  std::string text;
};

// In the order of Policy::Rules. Reads the key files.
std::vector<Finding> Lint(const Policy& policy);

}  // namespace gantry::sign
