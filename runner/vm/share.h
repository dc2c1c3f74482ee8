// A volume of a virtual machine: a file server of the host (virtiofsd) that shows the guest one directory or file.
#pragma once

#include <string>

#include "libimage/base/fd.h"
#include "runner/config.h"
#include "runner/confined_program.h"
#include "runner/pod.h"

namespace gantry::runner::vm {

struct Share {
  gantry::Process server;
  UniqueFd connection;  // for the machine
  bool directory = false;
};

// kUnsupported when there is no virtiofsd.
void RequireShareServer();

// Starts the server for the `index`-th volume of the pod, whose source is of the host, in `cgroup`. An error with
// the volume's name when its source cannot be shown.
Share StartShare(const Volume& volume, size_t index, Pod& pod, const BundleCgroup& cgroup);

}  // namespace gantry::runner::vm
