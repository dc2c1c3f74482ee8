#include "libimage/base/inherited.h"

#include <unistd.h>

#include <algorithm>

namespace gantry {

void CloseAllBut(std::span<int> keep) {
  std::sort(keep.begin(), keep.end());
  int next = 3;
  for (const int fd : keep) {
    if (fd > next)
      close_range(static_cast<unsigned>(next), static_cast<unsigned>(fd - 1), 0);
    next = std::max(next, fd + 1);
  }
  close_range(static_cast<unsigned>(next), ~0U, 0);
}

}  // namespace gantry
