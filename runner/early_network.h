// The network namespace of a container that is about to start. Of all namespaces it takes the kernel longest to make,
// by far: a thread makes it, and starts its loopback device, while the caller reads configurations and makes control
// groups.
#pragma once

#include <pthread.h>

#include <atomic>
#include <functional>

#include "libimage/base/fd.h"

namespace gantry::runner {

// The namespace belongs to the caller's user namespace: it is for containers that have no other.
class EarlyNetwork {
 public:
  // What comes of it: a descriptor (Take), or a thread that is in it (Use). kNow makes the descriptor in the
  // constructor, without a thread: for a caller with no other one, who would only wait for a child meanwhile, and whose
  // processor is free then.
  enum class For { kDescriptor, kNow, kThread };
  explicit EarlyNetwork(For wanted = For::kDescriptor);
  EarlyNetwork(const EarlyNetwork&) = delete;
  EarlyNetwork& operator=(const EarlyNetwork&) = delete;
  ~EarlyNetwork();  // waits for the thread

  // Waits for it, and then there is no thread any more. An invalid descriptor when it could not be made: whoever tries
  // again hears why.
  UniqueFd Take();

  // Has the thread run `work`, once; it is told whether there is a network. False when there is no thread.
  bool Use(std::function<void(bool made)> work);

  // Lets the thread end that was used: the kernel takes its end for that of the parent of what it started.
  void Release();

 private:
  enum Stage : int { kMaking, kUsed, kReleased };
  void MakeNow();
  static void* Make(void* self);
  void MoveFreely();
  void Join();

  const For wanted_;
  std::function<void(bool)> work_;
  std::atomic<int> stage_ = kMaking;
  UniqueFd made_;
  pthread_t maker_{};
  bool making_ = false;
  bool moved_ = false;  // kept from the caller's processor, until somebody waits for it
};

}  // namespace gantry::runner
