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

// Opens /dev/pts below `root`. Fails the step, with the words `otherwise`, where that is no devpts file system.
int OpenDevPts(int root, const char* otherwise);

// Opens `path` of the root, after making what is missing of it: directories, and at the end a directory or an empty
// file. O_PATH. Fails the step for a path that leads into proc, sysfs or a cgroup file system.
int OpenOrMake(int root, const char* path, bool directory, Step step, size_t index);

// Opens the directory NAME of the root for mounting over it, making it when missing; a link is refused.
int OpenMountPoint(int root, const char* name, Step step);

// The same, or what is mounted there already, for a directory of a bundle's root.
int OpenTop(int root, const char* name, size_t index);

// A new file system as a detached mount. `options` are "key=value" or "flag", null-terminated list. `source` is the
// type unless given.
int NewMount(const char* type, const char* const* options, unsigned attributes, Step step, size_t index = 0,
             const char* source = nullptr);

void Attach(int mount, int target, Step step, size_t index = 0);

// Makes a mount and what is below it read-only and more: MOUNT_ATTR_ bits.
void SetAttributes(int mount, uint64_t attributes, bool recursive, Step step, size_t index = 0);

// The overlay, attached at plan.mount_point. Returns its root.
int MountRoot(const SetupPlan& plan);

// The same for kernels before 6.8, by mount(2), which MountRoot falls back to.
int MountRootByOptions(const SetupPlan& plan);

// Gives a detached root its place in the mount namespace: `place`; where root of a user namespace may not go there, any
// directory that it can reach. Not "/": what is mounted there becomes our root, which cannot be changed for itself.
void PlaceRoot(int root, const char* place);

// Joins the control groups of the plan, once the parent has made those that are late, and makes the cgroup namespace.
void JoinCgroups(const SetupPlan& plan);

// A network namespace of the plan's own gets its loopback device up.
void RaiseLoopback(const SetupPlan& plan);

// Changes the root; what was the root is let go whole. `shared`: it may be the host's peer, whose mounts are to stay.
void Pivot(int root, bool shared);

// The state of the container, for hooks, as a sealed file; sent by the parent when its own hooks have run.
int ReceiveState();

// The root of a bundle, its mounts, nodes, hooks and sysctls, up to and including the change of the root.
void SetUpBundle(const SetupPlan& plan, const BundlePlan& bundle);

// The mounts of the bundle, in their order. Before the first for which it matters, else after the last, control groups
// are joined that are late.
void AttachMounts(const SetupPlan& plan, const BundlePlan& bundle, int root);
// Makes those read-only that had to be written to until now. Once nothing is made in them any more.
void SealMounts(const BundlePlan& bundle, int root);

// Fills `into`, a mount that hides the directory `from`, with what is in it.
void CopyUp(int from, int into, size_t index);

// A device node at its place in the root, or the host's shown there where a user namespace may not make one.
void MakeNode(int root, const NodePlan& node, size_t index);

// A pair out of the devpts `pts`; it becomes descriptors 0 to 2, and, with `dev` not -1, /dev/console. The runner gets
// the master.
void MakeConsole(int dev, int pts);

// Below `target`, a directory: the hierarchies of the plan.
void MountCgroups(const SetupPlan& plan, int target, bool read_only);

// Links that every /dev has. What is there already stays.
void MakeLinks(int dev);

// Hides what it is told to by one empty read-only directory, or by a /dev/null.
class Mask {
 public:
  // O_PATH; anything but the null device ends the child. `detached`: it is a mount of its own that is nowhere yet.
  explicit Mask(int null, bool detached = false);
  void Cover(int target, size_t index);  // takes `target`

 private:
  int null_;
  bool null_attached_;
  int empty_ = -1;
  bool empty_attached_ = false;
};

// Shows `target` once more on itself, with these attributes. Takes `target`.
void CoverWithItself(int target, uint64_t attributes, size_t index);

// A sysctl below a detached or attached /proc; false and errno when it is not there or does not take the value.
bool WriteSysctl(int proc, const char* path, const char* value);

// Covers what is masked, and makes read-only what may only be read, of the paths that begin with `top`: mounts of ours.
void HideKernelPaths(int root, const char* top, Mask& mask);

struct KernelMounts {
  int proc = -1;
  int dev = -1;
};
// /proc, /sys with cgroups, /dev with its terminals, masked and read-only paths.
KernelMounts MountKernelFileSystems(const SetupPlan& plan, int root);

}  // namespace gantry::runner
