// What systemd gives a service: sockets, and a place to say that it is ready.
#pragma once

#include "runner/pod_record.h"
#include "tools/run_pod.h"

namespace gantry::tools {

// For the first app: sd_listen_fds(3), and with --sdnotify=app the notify socket.
void TakeServices(const PodOptions& options, runner::PodPlan& plan);

// As sd_notify(3): the pod runs, and we are its main process.
void NotifyReady(const PodOptions& options);

}  // namespace gantry::tools
