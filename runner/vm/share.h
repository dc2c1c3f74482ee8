// A volume of a virtual machine: a file server of the host (virtiofsd) that shows the guest one directory or file.
#pragma once

#include <string>

#include "libimage/base/fd.h"
#include "runner/config.h"
#include "runner/confined_program.h"

namespace gantry::runner::vm {

struct Share {
  gantry::Process server;
  UniqueFd connection;  // for the machine
  bool directory = false;
};

// kUnsupported when there is no virtiofsd.
void RequireShareServer();

// Whose volumes they are.
struct ShareOwner {
  std::string name;       // as ConfinedProgram::owner
  std::string directory;  // the servers' roots are put together in it
  const BundleCgroup& cgroup;
  int output = -1;  // where the servers complain; -1: where we do
};

// Starts the server for the owner's `index`-th volume, whose source is of the host. An error with the volume's name
// when its source cannot be shown.
Share StartShare(const Volume& volume, size_t index, const ShareOwner& owner);

}  // namespace gantry::runner::vm
