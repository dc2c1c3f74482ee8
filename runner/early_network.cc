#include "runner/early_network.h"

#include <fcntl.h>
#include <sched.h>

#include <system_error>

#include "runner/loopback.h"

namespace gantry::runner {

EarlyNetwork::EarlyNetwork() {
  try {
    maker_ = std::thread([this] {
      if (unshare(CLONE_NEWNET) == 0 && StartLoopback())
        made_ = UniqueFd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    });
  } catch (const std::system_error&) {
    // no thread: as if it could not be made
  }
}

EarlyNetwork::~EarlyNetwork() {
  if (maker_.joinable())
    maker_.join();
}

UniqueFd EarlyNetwork::Take() {
  if (maker_.joinable())
    maker_.join();
  return std::move(made_);
}

}  // namespace gantry::runner
