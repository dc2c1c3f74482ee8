// What a check found, as a value: libsign answers with these where other code would throw or return false.
#pragma once

#include <cstddef>
#include <string>

namespace gantry::sign {

// One thing that was checked. Codes are listed in gantry-verify(1).
struct Step {
  std::string code;  // "digest-mismatch"
  bool passed = false;
  std::string text;  // one line for people
  size_t depth = 0;  // below the nearest step above it with a smaller one
};

// Why something was not accepted.
struct Reason {
  std::string code;  // as in Step
  std::string text;
};

}  // namespace gantry::sign
