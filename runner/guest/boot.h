// From the kernel's first process to a machine in which a container can be made.
#pragma once

#include "runner/vm/job.h"

namespace gantry::runner::guest {

// The kernel's file systems, the drivers that came along, and a root that a container can leave by pivot_root. Returns
// the container's init as a sealed memory file.
int PrepareMachine();

// Where one application's root comes together.
struct AppPaths {
  explicit AppPaths(unsigned app);
  char lower[32], changes[32], upper[32], work[32], container[32];
};

// The read-only root image of the application and the place for what its container writes.
void MountRootImage(const char* type, unsigned app, const AppPaths& paths);

// Mounts the shares of the job's volumes that are not mounted yet; the paths to what is to be shown are kept in
// `sources`.
using VolumePath = char[32];
void MountShares(const vm::Job& job, VolumePath (&sources)[vm::kMaxJobVolumes]);

// Lets the members of the control group use what the program allows of device nodes: `count` instructions of BPF.
void LimitDevices(int group, const char* program, size_t count);

// The application's control group with the limits of its job; a descriptor of it for CLONE_INTO_CGROUP.
int MakeCgroup(const vm::JobHead& job, unsigned app);

}  // namespace gantry::runner::guest
