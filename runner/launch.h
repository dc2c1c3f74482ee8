// From a plan to a running child in its namespaces.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/fd.h"
#include "runner/protocol.h"
#include "runner/setup.h"

namespace gantry::runner {

struct Namespaces {
  uint64_t made = 0;                         // CLONE_NEW* for clone3
  std::vector<std::pair<int, int>> entered;  // CLONE_NEW*, and a descriptor of the namespace
  int cgroup = -1;                           // of v2, to begin in
};

struct Launched {
  pid_t pid = -1;  // a child of ours
  UniqueFd pidfd;
  UniqueFd socket;  // to the child, later init (protocol.h)
};

// Runs RunSetup(plan) in a new process. `plan.control` is set. Throws when the namespaces cannot be made or entered.
Launched Launch(SetupPlan& plan, const Namespaces& namespaces);

struct Received {
  Report report;
  UniqueFd fd;
};

// The next report; nullopt at the end of the file: the other side was executed into the application, or is dead.
std::optional<Received> ReceiveReport(int socket);

// By errno after a send to the child: it failed meanwhile, and its report is there to be received. Who ended without
// reading all that came makes it ECONNRESET, once.
bool FailedMeanwhile();

// A duplicate above kControlFd, where the child keeps what it needs.
UniqueFd AboveControl(int fd);

}  // namespace gantry::runner
