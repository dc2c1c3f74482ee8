// The network of one pod, from the moment its first container has a network namespace to the pod's end.
//
// Before anything is attached the pod's directory says so in the file `network`; whoever ends the pod, its runner, its
// keeper, or a sweep after both were killed, undoes by that file what is left (ReleaseNetwork).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "runner/config.h"
#include "runner/net/attached_network.h"

namespace gantry::runner {

// Whether a network namespace of its own is to be more than a loopback device.
bool IsAttached(Network network);

class PodNetwork {
 public:
  // `pod` is the pod's directory and knows its absolute path; `container` is its first process. For single-threaded
  // callers.
  static PodNetwork Attach(const RunConfig& config, const Dir& pod, const std::string& uuid, pid_t container);

  const AttachedNetwork& attached() const { return attached_; }

 private:
  PodNetwork() = default;
  void AttachToBridge(const NetworkRequest& request, const Dir& pod, const std::string& uuid, pid_t container);
  void AttachByPasta(const NetworkRequest& request, const Dir& pod, pid_t container);
  void AttachNamed(const NetworkRequest& request, const Dir& pod, const std::string& uuid, pid_t container);

  AttachedNetwork attached_;
  std::vector<UniqueFd> reserved_;  // ports of the host
  std::optional<gantry::Process> pasta_;
};

// Undoes what the pod's directory says of a network; nothing where it says nothing. `pods` knows its absolute path.
void ReleaseNetwork(const Dir& pods, const std::string& uuid);

// Lets go of what would keep the pod's directory, when that cannot be undone: what plugins hold is given up.
void AbandonNetwork(const Dir& pods, const std::string& uuid);

}  // namespace gantry::runner
