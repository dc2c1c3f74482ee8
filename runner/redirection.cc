#include "runner/redirection.h"

#include <fcntl.h>
#include <unistd.h>

#include "libimage/base/error.h"

namespace gantry::runner {

Redirection::Redirection(const std::array<int, 3>& to) {
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] < 0)
      continue;
    saved_[i] = UniqueFd(fcntl(static_cast<int>(i), F_DUPFD_CLOEXEC, 3));
    if (dup2(to[i], static_cast<int>(i)) < 0)
      ThrowErrno("redirect a stream");
  }
}

Redirection::~Redirection() {
  for (size_t i = 0; i < saved_.size(); ++i) {
    if (saved_[i])
      dup2(saved_[i].get(), static_cast<int>(i));
  }
}

}  // namespace gantry::runner
