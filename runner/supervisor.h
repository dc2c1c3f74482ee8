// Attends to the apps of one pod from their start to their end: their output, their health, signals, and what the end
// of one means for the others.
//
// An app that ends with 0 leaves the others alone; one that fails ends the pod: the others get their stop signal, and
// SIGKILL when their time is over. Nothing is started again behind anybody's back. What happens is appended to the
// pod's record.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/early_network.h"
#include "runner/pod.h"
#include "runner/pod_log.h"
#include "runner/rootfs.h"

namespace gantry::runner {

struct SuperviseOptions {
  // Output goes to the pod's logs and to who attaches; else to our own descriptors.
  bool detached = false;
  LogLimits log;
  // For the only app, as of Process::Start.
  EarlyNetwork* network = nullptr;
  // Where what the first app says on its notify socket goes, the value of NOTIFY_SOCKET; empty: it has none.
  std::string notify;
  // Called once all apps are executed, with the pids of their first processes.
  std::function<void()> started = [] {};
  // Errors of an app that could not be executed (its code is then 126 or 127), and what could not be limited.
  std::function<void(const Error&)> failed = [](const Error&) {};
  std::function<void(const std::string&)> note = [](const std::string&) {};
};

// Runs all apps of the pod's plan, whose roots are `roots` in the same order. Returns when they have ended: with the
// code of the first that failed, else 0. For callers with no thread but that of `network`. When a start fails, what was
// started is killed.
ExitStatus Supervise(Pod& pod, std::vector<Rootfs> roots, const SuperviseOptions& options);

}  // namespace gantry::runner
