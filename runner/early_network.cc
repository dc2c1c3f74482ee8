#include "runner/early_network.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/sysinfo.h>

#include <cstring>
#include <optional>
#include <utility>

#include "libimage/base/error.h"
#include "runner/loopback.h"

namespace gantry::runner {
namespace {

// All processors but the caller's: by the choice of some kernels a thread begins on that of whoever started it, even
// where another idles, and takes its time or waits until it sleeps. nullopt where there is no other, and for a caller
// who may not use all: only who may can be given back what it had, for the kernel remembers what was set, and keeps to
// it when a cpuset is widened later.
std::optional<cpu_set_t> OtherProcessors() {
  cpu_set_t others;
  const int own = sched_getcpu();
  if (own < 0 || sched_getaffinity(0, sizeof others, &others) < 0 || CPU_COUNT(&others) != get_nprocs())
    return std::nullopt;
  CPU_CLR(static_cast<size_t>(own), &others);
  return CPU_COUNT(&others) > 0 ? std::optional(others) : std::nullopt;
}

// A thread that does nothing before it is on one of `processors`.
bool CreateOn(const cpu_set_t& processors, pthread_t& thread, void* (*body)(void*), void* argument) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0)
    return false;
  const bool created = pthread_attr_setaffinity_np(&attributes, sizeof processors, &processors) == 0 &&
                       pthread_create(&thread, &attributes, body, argument) == 0;
  pthread_attr_destroy(&attributes);
  return created;
}

UniqueFd OpenOwn() { return UniqueFd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

}  // namespace

// Not std::thread, which frees memory in the thread, for which that would be given a heap of its own. Signals are for
// the caller, who may block them while the thread is still there.
EarlyNetwork::EarlyNetwork(For wanted) : wanted_(wanted) {
  if (wanted == For::kNow) {
    MakeNow();
    return;
  }
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const std::optional<cpu_set_t> others = OtherProcessors();
  moved_ = others && CreateOn(*others, maker_, Make, this);
  making_ = moved_ || pthread_create(&maker_, nullptr, Make, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

EarlyNetwork::~EarlyNetwork() {
  Release();
  Join();
}

// Nothing is made where the way back is barred, as for root of a user namespace in a network from outside of it.
void EarlyNetwork::MakeNow() {
  const UniqueFd own = OpenOwn();
  if (!own || setns(own.get(), CLONE_NEWNET) < 0 || unshare(CLONE_NEWNET) < 0)
    return;
  if (StartLoopback())
    made_ = OpenOwn();
  if (setns(own.get(), CLONE_NEWNET) < 0)
    ThrowErrno("go back to the network of the host");
}

void* EarlyNetwork::Make(void* self) {
  auto& network = *static_cast<EarlyNetwork*>(self);
  const bool made = unshare(CLONE_NEWNET) == 0 && StartLoopback();
  if (network.wanted_ == For::kDescriptor) {
    if (made)
      network.made_ = OpenOwn();
    return nullptr;
  }
  network.stage_.wait(kMaking);
  if (network.stage_ == kUsed) {
    network.work_(made);
    network.stage_.wait(kUsed);
  }
  return nullptr;
}

// Before the caller waits for it, whose processor is free then: somebody may have the other for himself. Where it has
// ended this is about the caller, who may use all of them anyway.
void EarlyNetwork::MoveFreely() {
  if (!std::exchange(moved_, false))
    return;
  cpu_set_t all;
  std::memset(&all, 0xFF, sizeof all);
  pthread_setaffinity_np(maker_, sizeof all, &all);
}

void EarlyNetwork::Join() {
  MoveFreely();
  if (std::exchange(making_, false))
    pthread_join(maker_, nullptr);
}

bool EarlyNetwork::Use(std::function<void(bool)> work) {
  if (!making_)
    return false;
  MoveFreely();
  work_ = std::move(work);
  stage_ = kUsed;
  stage_.notify_one();
  return true;
}

void EarlyNetwork::Release() {
  stage_ = kReleased;
  stage_.notify_one();
}

UniqueFd EarlyNetwork::Take() {
  Join();
  return std::move(made_);
}

}  // namespace gantry::runner
