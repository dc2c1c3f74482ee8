// The root of a bundle: what config.json says, step by step, with the same care as gantry-run's own root.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>

#include "libimage/base/pass_descriptor.h"
#include "runner/setup_steps.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace gantry::runner {
namespace {

constexpr unsigned kEveryone = 0666;

// Entered at the execution of init. The offsets can only be set while nobody is in it.
void MakeTimeNamespace(const BundlePlan& bundle) {
  if (bundle.time_offsets == nullptr)
    return;
  if (unshare(CLONE_NEWTIME) < 0)
    FailSetup(Step::kTimeNamespace, errno);
  const size_t size = std::strlen(bundle.time_offsets);
  if (size == 0)
    return;
  const int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, bundle.time_offsets, size) != static_cast<ssize_t>(size))
    FailSetup(Step::kTimeNamespace, errno);
  close(fd);
}

// A mount point on the way to the root that is shared with the host would show it our root.
void MakeParentPrivate(const char* root) {
  char path[4096];
  std::strncpy(path, root, sizeof path - 1);
  path[sizeof path - 1] = '\0';
  while (mount(nullptr, path, nullptr, MS_PRIVATE, nullptr) < 0) {
    char* slash = std::strrchr(path, '/');
    if (errno != EINVAL || slash == nullptr || std::strcmp(path, "/") == 0)
      FailSetup(Step::kPrivateMounts, errno);
    slash[slash == path ? 1 : 0] = '\0';
  }
}

int AttachRoot(const BundlePlan& bundle) {
  // The rest of what it may be is for the container's root alone, which could not be made out of what is unbindable.
  const uint64_t propagation = (bundle.propagation & MS_SHARED) != 0 ? bundle.propagation : MS_SLAVE | MS_REC;
  if (mount(nullptr, "/", nullptr, propagation, nullptr) < 0)
    FailSetup(Step::kPrivateMounts, errno);
  if ((propagation & MS_SHARED) != 0)
    MakeParentPrivate(bundle.root);
  int root = bundle.root_tree;
  if (root < 0)
    root = open_tree(AT_FDCWD, bundle.root, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (root < 0)
    FailSetup(Step::kBundleRoot, errno);
  // Hooks look for it where the bundle has it.
  PlaceRoot(root, bundle.root);
  return root;
}

// The directory of `path` below the root, and the last part of it.
int OpenParent(int root, const char* path, const char** name, size_t index) {
  char parent[4096];
  const char* slash = std::strrchr(path, '/');
  const auto size = static_cast<size_t>(slash - path);
  if (size >= sizeof parent)
    FailSetup(Step::kNode, ENAMETOOLONG, index);
  std::memcpy(parent, path, size);
  parent[size] = '\0';
  *name = slash + 1;
  return size == 0 ? root : OpenOrMake(root, parent, true, Step::kNode, index);
}

// A user namespace may not make nodes: the host's is shown, after a look at what it is.
void ShowNode(int parent, const char* name, const NodePlan& node, size_t index) {
  const int host = open_tree(AT_FDCWD, node.path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
  struct stat status {};
  if (host < 0 || fstat(host, &status) < 0)
    FailSetup(Step::kNode, errno, index);
  if ((status.st_mode & S_IFMT) != (node.mode & S_IFMT) || status.st_rdev != node.device)
    FailSetup(Step::kNode, ENODEV, index);
  const int target = openat(parent, name, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, kEveryone);
  if (target < 0)
    FailSetup(Step::kNode, errno, index);
  Attach(host, target, Step::kNode, index);
  close(host);
  close(target);
}

}  // namespace

void MakeNode(int root, const NodePlan& node, size_t index) {
  const char* name = nullptr;
  const int parent = OpenParent(root, node.path, &name, index);
  struct stat status {};
  if (mknodat(parent, name, node.mode, node.device) < 0) {
    if (errno == EPERM) {
      ShowNode(parent, name, node, index);
      return;
    }
    const bool same = errno == EEXIST && fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                      (status.st_mode & S_IFMT) == (node.mode & S_IFMT) && status.st_rdev == node.device;
    // A file of the image that only looks like the device is not taken for it (CVE-2025-31133).
    if (same)
      return;
    FailSetup(Step::kNode, errno, index);
  }
  if ((node.uid != 0 || node.gid != 0) && fchownat(parent, name, node.uid, node.gid, AT_SYMLINK_NOFOLLOW) < 0)
    FailSetup(Step::kNode, errno, index);
  if (parent != root)
    close(parent);
}

namespace {

void FillDev(const SetupPlan& plan, const BundlePlan& bundle, int root) {
  if (!bundle.fill_dev && !plan.terminal)
    return;
  const int dev = OpenTop(root, "dev", 0);
  const mode_t before = umask(0);
  for (size_t i = 0; i < bundle.node_count && bundle.fill_dev; ++i) MakeNode(root, bundle.nodes[i], i);
  umask(before);
  if (bundle.fill_dev)
    MakeLinks(dev);
  if (plan.terminal) {
    const int pts = OpenDevPts(root, "the bundle mounts no devpts at /dev/pts");
    MakeConsole(dev, pts);
    close(pts);
  }
  close(dev);
}

void RunHooks(const BundlePlan& bundle) {
  if (!bundle.await_hooks)
    return;
  Report mounted;
  mounted.kind = Report::kMounted;
  if (send(kControlFd, &mounted, sizeof mounted, MSG_NOSIGNAL) < 0)
    FailSetup(Step::kHook, errno);
  const int fd = ReceiveState();
  struct stat status {};
  if (fstat(fd, &status) < 0)
    FailSetup(Step::kHook, errno);
  const auto size = static_cast<size_t>(status.st_size);
  void* state = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (state == MAP_FAILED)
    FailSetup(Step::kHook, errno);
  for (size_t i = 0; i < bundle.hook_count; ++i) {
    HookFailure failure;
    if (!RunHook(bundle.hooks[i], static_cast<const char*>(state), size, failure)) {
      const bool ran = failure.error == 0;
      FailSetup(ran ? Step::kHookCode : Step::kHook, ran ? failure.code : failure.error, i, failure.output);
    }
  }
  munmap(state, size);
  close(fd);
}

// Without pivot_root, which an initramfs does not allow: the root goes over the host's. What shows the host's /proc and
// /sys is let go first, for it could be uncovered again.
void MoveRoot(int root) {
  umount2("/proc", MNT_DETACH);
  umount2("/sys", MNT_DETACH);
  if (fchdir(root) < 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) < 0 || chroot(".") < 0 || chdir("/") < 0)
    FailSetup(Step::kPivot, errno);
}

// Through a /proc that is nobody else's: whatever the bundle mounts at /proc, the kernel gets the value.
void SetSysctls(const BundlePlan& bundle) {
  if (bundle.sysctl_count == 0)
    return;
  const int proc = NewMount("proc", nullptr, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, Step::kSysctl);
  const int sys = OpenResolved(proc, "sys", O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
  for (size_t i = 0; i < bundle.sysctl_count; ++i) {
    if (!WriteSysctl(sys, bundle.sysctls[i].path, bundle.sysctls[i].value))
      FailSetup(Step::kSysctl, errno, i);
  }
  close(sys);
  close(proc);
}

int OpenToHide(int root, const char* path, Step step, size_t index) {
  const int target = OpenInContainer(root, path, O_PATH);
  if (target < 0 && errno != ENOENT && errno != ENOTDIR)
    FailSetup(step, errno, index);
  return target;
}

void HidePaths(const BundlePlan& bundle, int root, int null) {
  for (size_t i = 0; i < bundle.read_only_count; ++i) {
    const int target = OpenToHide(root, bundle.read_only[i], Step::kReadOnly, i);
    if (target >= 0)
      CoverWithItself(target, MOUNT_ATTR_RDONLY, i);
  }
  if (bundle.masked_count == 0)
    return;
  Mask mask(null, true);
  for (size_t i = 0; i < bundle.masked_count; ++i) {
    const int target = OpenToHide(root, bundle.masked[i], Step::kMask, i);
    if (target >= 0)
      mask.Cover(target, i);
  }
}

void NameItself(const SetupPlan& plan, const BundlePlan& bundle) {
  if (plan.hostname != nullptr && sethostname(plan.hostname, std::strlen(plan.hostname)) < 0)
    FailSetup(Step::kHostname, errno);
  if (bundle.domainname != nullptr && setdomainname(bundle.domainname, std::strlen(bundle.domainname)) < 0)
    FailSetup(Step::kDomainname, errno);
  if (bundle.personality && personality(bundle.persona) < 0)
    FailSetup(Step::kPersonality, errno);
}

// The host's, which nothing of the image can stand in for (CVE-2025-31133). No peer of it: what is mounted over a path
// that it hides would be mounted over the host's /dev/null, too.
int OpenHostNull() {
  const int null = open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
  mount_attr change = {};
  change.propagation = MS_PRIVATE;
  if (null < 0 || mount_setattr(null, "", AT_EMPTY_PATH, &change, sizeof change) < 0)
    FailSetup(Step::kMask, errno);
  return null;
}

}  // namespace

int ReceiveState() {
  std::byte byte{};
  const Arrival arrival = ReceiveWithDescriptor(kControlFd, std::span(&byte, 1));
  if (arrival.size != 1 || arrival.fd < 0)
    FailSetup(Step::kHook, EPIPE);
  return arrival.fd;
}

void SetUpBundle(const SetupPlan& plan, const BundlePlan& bundle) {
  MakeTimeNamespace(bundle);
  const int null = bundle.masked_count > 0 ? OpenHostNull() : -1;
  const int root = AttachRoot(bundle);
  RaiseLoopback(plan);
  AttachMounts(plan, bundle, root);
  if (std::strcmp(plan.working_dir, "/") != 0) {
    const int dir = OpenInContainer(root, plan.working_dir, O_PATH);
    close(dir >= 0 ? dir : OpenOrMake(root, plan.working_dir, true, Step::kWorkingDir, 0));
  }
  FillDev(plan, bundle, root);
  RunHooks(bundle);
  if (bundle.pivot)
    Pivot(root, (bundle.propagation & MS_SHARED) != 0);
  else
    MoveRoot(root);
  if (bundle.propagation != 0 && mount(nullptr, "/", nullptr, bundle.propagation, nullptr) < 0)
    FailSetup(Step::kPrivateMounts, errno);
  NameItself(plan, bundle);
  SetSysctls(bundle);
  HidePaths(bundle, root, null);
  SealMounts(bundle, root);
  if (plan.read_only_rootfs)
    SetAttributes(root, MOUNT_ATTR_RDONLY, false, Step::kReadOnlyRoot);
}

}  // namespace gantry::runner
