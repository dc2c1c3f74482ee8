// What systemd gives a service: sockets, and a place to say that it is ready.
#pragma once

#include <string>

#include "runner/pod_record.h"
#include "tools/run_pod.h"

namespace gantry::tools {

// How many sockets are passed to us, as sd_listen_fds(3) has it, from descriptor 3 on. Before anything is executed,
// which would have them, and before anything is opened, which a number that is wrong would count.
unsigned TakeSockets();

// For the first app: these, and with --sdnotify=app a notify socket and sd_watchdog_enabled(3).
void TakeServices(const PodOptions& options, unsigned sockets, runner::PodPlan& plan);

// Where what the first app says on its notify socket is to go; empty: it has none.
std::string RelayTo(const PodOptions& options);

// What of this a pod that was prepared without it cannot get: kUnsupported.
void RefuseServices(const PodOptions& options);

// As sd_notify(3): the pod runs, and we are its main process.
void NotifyReady(const PodOptions& options);

}  // namespace gantry::tools
