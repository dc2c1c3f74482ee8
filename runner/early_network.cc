#include "runner/early_network.h"

#include <fcntl.h>
#include <sched.h>

#include <utility>

#include "runner/loopback.h"

namespace gantry::runner {

// Not std::thread, which frees memory in the thread, for which that would be given a heap of its own.
EarlyNetwork::EarlyNetwork() { making_ = pthread_create(&maker_, nullptr, Make, this) == 0; }

EarlyNetwork::~EarlyNetwork() { Join(); }

void* EarlyNetwork::Make(void* self) {
  if (unshare(CLONE_NEWNET) == 0 && StartLoopback())
    static_cast<EarlyNetwork*>(self)->made_ = UniqueFd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  return nullptr;
}

void EarlyNetwork::Join() {
  if (std::exchange(making_, false))
    pthread_join(maker_, nullptr);
}

UniqueFd EarlyNetwork::Take() {
  Join();
  return std::move(made_);
}

}  // namespace gantry::runner
