// The root of a bundle: what config.json says, step by step, with the same care as gantry-run's own root. Each mount is
// made detached and moved onto a descriptor that was resolved inside the root.
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "libimage/base/pass_descriptor.h"
#include "runner/setup_steps.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace gantry::runner {
namespace {

constexpr unsigned kEveryone = 0666;
constexpr size_t kLongestValue = 255;

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
  const uint64_t propagation = bundle.propagation != 0 ? bundle.propagation : MS_SLAVE | MS_REC;
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

// Files of /proc that others may stand in for, as lxcfs does; nothing else of it is to be covered by a bundle.
bool MayCoverProc(const char* path) {
  static constexpr const char* kAllowed[] = {"/proc/cpuinfo",
                                             "/proc/diskstats",
                                             "/proc/meminfo",
                                             "/proc/stat",
                                             "/proc/swaps",
                                             "/proc/uptime",
                                             "/proc/loadavg",
                                             "/proc/slabinfo",
                                             "/proc/net/dev",
                                             "/proc/sys/kernel/ns_last_pid",
                                             "/proc/sys/crypto/fips_enabled"};
  for (const char* allowed : kAllowed) {
    if (std::strcmp(path, allowed) == 0)
      return true;
  }
  return false;
}

bool IsProcOrBelow(const char* path) {
  return std::strncmp(path, "/proc", 5) == 0 && (path[5] == '\0' || path[5] == '/');
}

// A directory of the root's own top, or what is mounted there; never through a link (CVE-2023-27561, CVE-2026-41579).
int OpenTop(int root, const char* name, size_t index) {
  const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  int fd = OpenResolved(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve);
  if (fd < 0 && errno == ENOENT && mkdirat(root, name, 0755) == 0)
    fd = OpenResolved(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve);
  if (fd < 0)
    FailSetup(Step::kMountTarget, errno, index, "a link or a file is in its place");
  return fd;
}

// What `mount` goes onto. Links in its path are resolved inside the root; one that leads into /proc is refused, for
// what the kernel is told there must reach the kernel (CVE-2019-19921, CVE-2023-27561, CVE-2025-52881).
int OpenTarget(int root, const MountPlan& mount, bool directory, size_t index) {
  const bool kernel = std::strcmp(mount.type, "proc") == 0 || std::strcmp(mount.type, "sysfs") == 0;
  if (kernel && std::strchr(mount.target + 1, '/') == nullptr)
    return OpenTop(root, mount.target + 1, index);
  if (mount.target_nofollow) {
    const int last = OpenResolved(root, mount.target, O_PATH | O_NOFOLLOW, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (last >= 0)
      return last;
  }
  const int there = OpenInContainer(root, mount.target, O_PATH);
  if (there < 0)
    return OpenOrMake(root, mount.target, directory, Step::kMountTarget, index);
  struct statfs status {};
  struct stat file {};
  if (fstatfs(there, &status) < 0 || fstat(there, &file) < 0)
    FailSetup(Step::kMountTarget, errno, index);
  const bool covers_proc = std::strcmp(mount.target, "/proc") == 0 || MayCoverProc(mount.target);
  if ((status.f_type == PROC_SUPER_MAGIC || IsProcOrBelow(mount.target)) && !covers_proc)
    FailSetup(Step::kMountTarget, EPERM, index, "it is inside /proc");
  if (S_ISDIR(file.st_mode) != directory)
    FailSetup(Step::kMountTarget, directory ? ENOTDIR : EISDIR, index);
  return there;
}

void ChangeTree(int tree, uint64_t set, uint64_t clear, bool all, size_t index) {
  if (set == 0 && clear == 0)
    return;
  mount_attr change = {};
  change.attr_set = set;
  change.attr_clr = clear;
  const unsigned flags = AT_EMPTY_PATH | (all ? static_cast<unsigned>(AT_RECURSIVE) : 0U);
  if (mount_setattr(tree, "", flags, &change, sizeof change) == 0)
    return;
  // What the host locked cannot be cleared from a user namespace; it then stays as it is, which is the safe way.
  change.attr_clr = (set & MOUNT_ATTR__ATIME) != 0 ? MOUNT_ATTR__ATIME : 0;
  if (errno != EPERM || mount_setattr(tree, "", flags, &change, sizeof change) < 0)
    FailSetup(Step::kMount, errno, index);
}

void ChangePropagation(int tree, uint64_t propagation, bool all, size_t index) {
  if (propagation == 0)
    return;
  mount_attr change = {};
  change.propagation = propagation;
  if (mount_setattr(tree, "", AT_EMPTY_PATH | (all ? static_cast<unsigned>(AT_RECURSIVE) : 0U), &change,
                    sizeof change) < 0)
    FailSetup(Step::kMount, errno, index);
}

int OpenSource(const MountPlan& mount, size_t index) {
  if (mount.tree >= 0)
    return mount.tree;
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (mount.recursive ? AT_RECURSIVE : 0) |
                         (mount.source_nofollow ? AT_SYMLINK_NOFOLLOW : 0);
  const int tree = open_tree(AT_FDCWD, mount.source, flags);
  if (tree < 0)
    FailSetup(Step::kMountSource, errno, index);
  return tree;
}

void AttachBind(int root, const MountPlan& mount, size_t index) {
  const int tree = OpenSource(mount, index);
  struct stat status {};
  if (fstat(tree, &status) < 0)
    FailSetup(Step::kMountSource, errno, index);
  ChangeTree(tree, mount.set, mount.clear, false, index);
  ChangeTree(tree, mount.set_all, mount.clear_all, true, index);
  const int target = OpenTarget(root, mount, S_ISDIR(status.st_mode), index);
  Attach(tree, target, Step::kMount, index);
  ChangePropagation(tree, mount.propagation, mount.propagation_all, index);
  close(target);
  close(tree);
}

// fsconfig(2) takes values of up to 255 bytes, and the layers of an overlay are longer: those go the old way.
bool TooLong(const MountPlan& mount) {
  for (const char* const* option = mount.data; *option != nullptr; ++option) {
    if (std::strlen(*option) > kLongestValue)
      return true;
  }
  return false;
}

void MountByOptions(const MountPlan& plan, int target, size_t index) {
  static char options[4096];
  size_t used = 0;
  for (const char* const* option = plan.data; *option != nullptr; ++option) {
    const int size = std::snprintf(options + used, sizeof options - used, "%s%s", used > 0 ? "," : "", *option);
    if (size < 0 || static_cast<size_t>(size) >= sizeof options - used)
      FailSetup(Step::kMount, E2BIG, index, "its options are longer than a page");
    used += static_cast<size_t>(size);
  }
  struct {
    uint64_t attribute;
    unsigned long flag;
  } constexpr kFlags[] = {{MOUNT_ATTR_RDONLY, MS_RDONLY},
                          {MOUNT_ATTR_NOSUID, MS_NOSUID},
                          {MOUNT_ATTR_NODEV, MS_NODEV},
                          {MOUNT_ATTR_NOEXEC, MS_NOEXEC},
                          {MOUNT_ATTR_NOATIME, MS_NOATIME}};
  unsigned long flags = 0;
  for (const auto& [attribute, flag] : kFlags) flags |= (plan.set & attribute) != 0 ? flag : 0;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", target);
  if (mount(plan.source, path, plan.type, flags, options) < 0 ||
      (plan.propagation != 0 && mount(nullptr, path, nullptr, plan.propagation, nullptr) < 0))
    FailSetup(Step::kMount, errno, index);
  close(target);
}

// A tmpfs over a directory of the image has the directory's mode, unless it is given one; elsewhere its own, 1777.
bool TakesMode(const MountPlan& mount) {
  if (std::strcmp(mount.type, "tmpfs") != 0)
    return false;
  for (const char* const* option = mount.data; *option != nullptr; ++option) {
    if (std::strncmp(*option, "mode=", 5) == 0)
      return false;
  }
  return true;
}

// What the mount will cover gives it what is in it, or its mode.
void TakeFromCovered(int covered, const MountPlan& mount, int tree, size_t index) {
  struct stat status {};
  const int into = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (into < 0 || fstat(covered, &status) < 0)
    FailSetup(Step::kCopyUp, errno, index);
  if (mount.copy_up) {
    CopyUp(covered, into, index);
    if (fchown(into, status.st_uid, status.st_gid) < 0)
      FailSetup(Step::kCopyUp, errno, index);
  }
  if (TakesMode(mount) && fchmod(into, status.st_mode & 07777) < 0)
    FailSetup(Step::kMount, errno, index);
  close(into);
  close(covered);
}

void AttachNew(int root, const MountPlan& mount, size_t index) {
  const bool takes = mount.copy_up || TakesMode(mount);
  const int covered = takes ? OpenInContainer(root, mount.target, O_RDONLY | O_DIRECTORY) : -1;
  const int target = OpenTarget(root, mount, true, index);
  if (TooLong(mount)) {
    MountByOptions(mount, target, index);
    return;
  }
  const bool late = mount.copy_up && (mount.set & MOUNT_ATTR_RDONLY) != 0;
  const auto attributes = static_cast<unsigned>(mount.set & ~(late ? uint64_t{MOUNT_ATTR_RDONLY} : 0));
  const int tree = NewMount(mount.type, mount.data, attributes, Step::kMount, index, mount.source);
  if (covered >= 0)
    TakeFromCovered(covered, mount, tree, index);
  if (late)
    SetAttributes(tree, MOUNT_ATTR_RDONLY, false, Step::kMount, index);
  Attach(tree, target, Step::kMount, index);
  ChangePropagation(tree, mount.propagation, mount.propagation_all, index);
  close(target);
  close(tree);
}

void AttachCgroups(const SetupPlan& plan, int root, const MountPlan& mount, size_t index) {
  const int target = OpenTarget(root, mount, true, index);
  if (plan.cgroup_count > 0)
    MountCgroups(plan, target, (mount.set & MOUNT_ATTR_RDONLY) != 0);
  close(target);
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

// The host's, which nothing of the image can stand in for (CVE-2025-31133).
int OpenHostNull() {
  const int null = open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
  if (null < 0)
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

namespace {

// Whether what is mounted is the same whatever network and control groups this process is in. What is copied into a
// tmpfs is charged to the groups; what a bind finds in /proc is that of the process that opens it.
bool CanComeFirst(const MountPlan& mount) {
  if (*mount.type == '\0' && std::strncmp(mount.source, "/proc", 5) == 0)
    return false;
  for (const char* type : {"", "proc", "tmpfs", "devpts", "mqueue"}) {
    if (std::strcmp(mount.type, type) == 0)
      return !mount.copy_up;
  }
  return false;
}

// As late as can be, the network and the control groups are joined: the parent makes them meanwhile.
void AttachMounts(const SetupPlan& plan, const BundlePlan& bundle, int root) {
  bool to_join = SomethingComes(plan);
  for (size_t i = 0; i < bundle.mount_count; ++i) {
    const MountPlan& mount = bundle.mounts[i];
    const bool cgroups = std::strcmp(mount.type, "cgroup") == 0;
    if (!CanComeFirst(mount) && std::exchange(to_join, false))
      JoinNetworkAndCgroups(plan);
    if (*mount.type == '\0')
      AttachBind(root, mount, i);
    else if (cgroups)
      AttachCgroups(plan, root, mount, i);
    else
      AttachNew(root, mount, i);
  }
  if (to_join)
    JoinNetworkAndCgroups(plan);
}

}  // namespace

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
    Pivot(root, true);
  else
    MoveRoot(root);
  if (bundle.propagation != 0 && mount(nullptr, "/", nullptr, bundle.propagation, nullptr) < 0)
    FailSetup(Step::kPrivateMounts, errno);
  NameItself(plan, bundle);
  SetSysctls(bundle);
  HidePaths(bundle, root, null);
  if (plan.read_only_rootfs)
    SetAttributes(root, MOUNT_ATTR_RDONLY, false, Step::kReadOnlyRoot);
}

}  // namespace gantry::runner
