// Parts of setup.cc that are files of their own: what the steps share, the kernel's file systems, and the root.
// Nothing outside the child's side of a start includes this.
#pragma once

#include <sys/types.h>

#include "runner/protocol.h"
#include "runner/setup.h"

namespace gantry::runner {

// Ends the child with a Report of `error`. `detail` may come from the kernel.
[[noreturn]] void FailSetup(Step step, int error, size_t index = 0, const char* detail = "");

// Sends a Report with a descriptor.
void SendDescriptor(Report::Kind kind, int fd, Step step);

// openat2 with `resolve` flags; -1 and errno.
int OpenResolved(int dir, const char* path, uint64_t flags, uint64_t resolve, mode_t mode = 0);

// As the container would resolve `path`, below `root`.
int OpenInContainer(int root, const char* path, uint64_t flags);

// Opens `path` of the root, after making what is missing of it: directories, and at the end a directory or an empty
// file. O_PATH. Fails the step for a path that leads into proc, sysfs or a cgroup file system.
int OpenOrMake(int root, const char* path, bool directory, Step step, size_t index);

// Opens the directory NAME of the root for mounting over it, making it when missing; a link is refused.
int OpenMountPoint(int root, const char* name, Step step);

// A new file system as a detached mount. `options` are "key=value" or "flag", null-terminated list.
int NewMount(const char* type, const char* const* options, unsigned attributes, Step step, size_t index = 0);

void Attach(int mount, int target, Step step, size_t index = 0);

// Makes a mount and what is below it read-only and more: MOUNT_ATTR_ bits.
void SetAttributes(int mount, uint64_t attributes, bool recursive, Step step, size_t index = 0);

// The overlay, attached at plan.mount_point. Returns its root.
int MountRoot(const SetupPlan& plan);

// The same for kernels before 6.8, by mount(2), which MountRoot falls back to.
int MountRootByOptions(const SetupPlan& plan);

struct KernelMounts {
  int proc = -1;
  int dev = -1;
};
// /proc, /sys with cgroups, /dev with its terminals, masked and read-only paths.
KernelMounts MountKernelFileSystems(const SetupPlan& plan, int root);

}  // namespace gantry::runner
