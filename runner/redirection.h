// Our descriptors 0 to 2 for the time of a start: what is started inherits others.
#pragma once

#include <array>

#include "libimage/base/fd.h"

namespace gantry::runner {

class Redirection {
 public:
  // What becomes 0, 1 and 2; -1 leaves it. Puts back what was there when it is destroyed.
  explicit Redirection(const std::array<int, 3>& to);
  Redirection(const Redirection&) = delete;
  Redirection& operator=(const Redirection&) = delete;
  ~Redirection();

 private:
  std::array<UniqueFd, 3> saved_;
};

}  // namespace gantry::runner
