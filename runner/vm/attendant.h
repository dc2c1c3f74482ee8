// The attendant of a bundle's container in a virtual machine of its own (bundle_machine.h), and of processes that enter
// one.
#pragma once

#include <string>

#include "libimage/base/process.h"

namespace gantry::runner::vm {

struct AttendantOptions {
  std::string root;  // of the state of all containers
  std::string id;
  bool waits = false;     // for `start`, at kAttendantInputFd
  bool terminal = false;  // of the process that enters
};

// Boots a machine for the container that is described in its directory, and runs the bundle's process in it with our
// descriptors 0 to 2, our terminal and our signals. Tells whoever waits at kAttendantFd when the container is created,
// or, unless it waits, running. Returns when the process and with it the machine have ended.
ExitStatus AttendMachine(const AttendantOptions& options);

// The same for another process in the running machine, whose parameters are at kAttendantInputFd.
ExitStatus AttendEntry(const AttendantOptions& options);

}  // namespace gantry::runner::vm
