// From a plan to a running child in its namespaces.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/fd.h"
#include "runner/early_network.h"
#include "runner/protocol.h"
#include "runner/setup.h"

namespace gantry::runner {

struct Namespaces {
  uint64_t made = 0;                         // CLONE_NEW* for clone3
  std::vector<std::pair<int, int>> entered;  // CLONE_NEW*, and a descriptor of the namespace
  int cgroup = -1;                           // of v2, to begin in
};

struct Launched {
  pid_t pid = -1;  // a child of ours; -1: it failed before it was in the container, and there is a report of that
  UniqueFd pidfd;
  UniqueFd socket;  // to the child, later init (protocol.h)
};

// Runs RunSetup(plan) in a new process. `plan.control` is set. Throws when the namespaces cannot be made or entered.
Launched Launch(SetupPlan& plan, const Namespaces& namespaces);

// The same by the thread of a network that is in the making, and so in that network, while the caller goes on. Where it
// can, the process shares our memory until it executes init: to copy it, and then each page that either writes to,
// takes longer than all the namespaces. So what the plan points at has to stay as it is until then, and one such
// process is made at a time. The network is to be released when init does not ask for our death any more.
class Launching {
 public:
  // Without a network there is nothing to go on beside.
  Launching(SetupPlan& plan, const Namespaces& namespaces, EarlyNetwork* network);
  Launching(const Launching&) = delete;
  Launching& operator=(const Launching&) = delete;
  ~Launching();  // kills what nobody has asked for

  Launched Finish();  // once; what Launch throws

 private:
  void Make(bool network_made);
  void MakeSharing();

  SetupPlan& plan_;
  Namespaces namespaces_;
  UniqueFd ours_, theirs_;
  Launched launched_;
  pid_t pid_ = -1;
  int handle_ = -1;
  std::exception_ptr error_;
  std::shared_ptr<std::atomic<int>> begun_ = std::make_shared<std::atomic<int>>(0);  // the thread's, too
  bool finished_ = false;
};

struct Received {
  Report report;
  UniqueFd fd;
};

// The next report; nullopt at the end of the file: the other side was executed into the application, or is dead.
std::optional<Received> ReceiveReport(int socket);

// For ReceiveAnswer, before there is anybody who answers.
void HearWhoAnswers(int socket);

// What the process `from` says in Answer; nullopt when it ended without. The process that it made has the other end,
// too, for a moment: whoever may trace in the container could take that, and name a process of the host.
std::optional<Answer> ReceiveAnswer(int socket, pid_t from);

// By errno after a send to the child: it failed meanwhile, and its report is there to be received. Who ended without
// reading all that came makes it ECONNRESET, once.
bool FailedMeanwhile();

// A duplicate above kControlFd, where the child keeps what it needs.
UniqueFd AboveControl(int fd);

}  // namespace gantry::runner
