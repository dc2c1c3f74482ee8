// From the kernel's first process to a machine in which a container can be made.
#pragma once

#include "runner/vm/job.h"

namespace gantry::runner::guest {

// The kernel's file systems, the drivers that came along, and a root that a container can leave by pivot_root. Returns
// the container's init as a sealed memory file.
int PrepareMachine();

// The read-only root image and the place for what the container writes, at kLower, kUpper and kWork.
void MountRootImage(const char* type);
constexpr const char kLower[] = "/lower";
constexpr const char kUpper[] = "/changes/upper";
constexpr const char kWork[] = "/changes/work";
constexpr const char kMountPoint[] = "/container";

// Mounts the shares of the job's volumes; the paths to what is to be shown are kept in `sources`.
using VolumePath = char[32];
void MountShares(const vm::Job& job, VolumePath (&sources)[vm::kMaxJobVolumes]);

// A control group with the limit; a descriptor of it for CLONE_INTO_CGROUP.
int MakeCgroup(uint64_t pids);

}  // namespace gantry::runner::guest
