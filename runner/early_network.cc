#include "runner/early_network.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>

#include <utility>

#include "runner/loopback.h"

namespace gantry::runner {

// Not std::thread, which frees memory in the thread, for which that would be given a heap of its own. Signals are for
// the caller, who may block them while the thread is still there.
EarlyNetwork::EarlyNetwork() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  making_ = pthread_create(&maker_, nullptr, Make, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

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
