// The network namespace of a container that is about to start. Of all namespaces it takes the kernel longest to make,
// by far: a thread makes it, and starts its loopback device, while the caller reads configurations and makes control
// groups.
#pragma once

#include <pthread.h>

#include "libimage/base/fd.h"

namespace gantry::runner {

// The namespace belongs to the caller's user namespace: it is for containers that have no other.
class EarlyNetwork {
 public:
  EarlyNetwork();
  EarlyNetwork(const EarlyNetwork&) = delete;
  EarlyNetwork& operator=(const EarlyNetwork&) = delete;
  ~EarlyNetwork();

  // Waits for it, and then there is no thread any more. An invalid descriptor when it could not be made: whoever tries
  // again hears why.
  UniqueFd Take();

 private:
  static void* Make(void* self);
  void Join();

  UniqueFd made_;
  pthread_t maker_{};
  bool making_ = false;
};

}  // namespace gantry::runner
