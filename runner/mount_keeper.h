// The mounts of a container that has ended take the kernel longest to take apart, and whoever waits for the container
// waits for that, too, unless somebody still holds its mount namespace. A keeper does, until we let go or have ended,
// and then pays that time alone: a process that shares our memory, has nothing else open, and ends by itself.
// We do not wait for it: whoever is init to us, or a subreaper, reaps it.
#pragma once

#include <sys/types.h>

#include "libimage/base/fd.h"

namespace gantry::runner {

class MountKeeper {
 public:
  // Of this process, in the namespace that it is in now. Where /proc does not give it, nothing is kept, and the end of
  // the container takes longer.
  explicit MountKeeper(pid_t container);

  // Starts the keeper: once in a process. Before that, the namespace is held by us.
  void Begin();

 private:
  UniqueFd space_;
  UniqueFd alive_;  // the keeper sees it close
};

}  // namespace gantry::runner
