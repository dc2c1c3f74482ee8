// A command in an image with as little around it as there can be: for where containers cannot be made.
//
// It has a mount, a process and, without the host's, a network namespace of its own; the capabilities, the filter of
// system calls and no_new_privs of a container; and a /dev of six devices. It has no control group, no IPC and UTS
// namespace, no /sys, no /proc where a new one cannot be mounted (it never sees the host's), no terminal and no
// standard input. Without root it runs in a user namespace.
#pragma once

#include <optional>
#include <string>

#include "runner/config.h"
#include "runner/rootfs.h"
#include "runner/userns.h"

namespace gantry::runner {

// Runs it and waits: its exit code, or 128 + the signal that killed it; 126 or 127 where it cannot be executed.
// `rootfs` has an upper and a work directory; `mount_point` is an empty one. For single-threaded callers. kUnsupported
// for what `config` asks for and this cannot give: volumes, secrets, devices, a terminal.
int RunInChroot(const RunConfig& config, const Rootfs& rootfs, const std::string& mount_point,
                const std::optional<IdMap>& map);

}  // namespace gantry::runner
