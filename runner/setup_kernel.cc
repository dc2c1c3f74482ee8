// /proc, /sys, /dev and what of them is hidden.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <iterator>

#include "runner/setup_steps.h"

namespace gantry::runner {

// moby's list and podman's together; thread throttling of each processor is added in MaskThrottling.
const char* const kMaskedPaths[] = {
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
    "sys/fs/selinux",
};
const size_t kMaskedPathCount = std::size(kMaskedPaths);
const char* const kReadOnlyPaths[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
const size_t kReadOnlyPathCount = std::size(kReadOnlyPaths);

namespace {

constexpr unsigned kNoSuidDevExec = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr int kMaxProcessors = 8192;

struct Node {
  const char* name;
  unsigned major, minor;
};
constexpr Node kNodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                           {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

// Below a mount that we just made: no link is followed, no other file system entered.
int OpenOwn(int mount, const char* path, uint64_t flags) {
  return OpenResolved(mount, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

// A sysctl of a namespace that is the container's alone. Kernels without it have nothing to set.
void SetSysctl(int proc, const char* path, const char* value) {
  if (!WriteSysctl(proc, path, value) && errno != ENOENT)
    FailSetup(Step::kProc, errno);
}

int MountProc(const SetupPlan& plan, int root) {
  const int proc = NewMount("proc", nullptr, kNoSuidDevExec, Step::kProc);
  Attach(proc, OpenMountPoint(root, "proc", Step::kProc), Step::kProc);
  if (!plan.host_network) {
    // Ports below 1024 and ping need no capability in a network of one's own.
    SetSysctl(proc, "sys/net/ipv4/ip_unprivileged_port_start", "0");
    // Of groups that the user namespace may not have only the first is sure.
    const bool mapped = plan.user_namespace || plan.inner_root;
    SetSysctl(proc, "sys/net/ipv4/ping_group_range", mapped ? "0 0" : "0 2147483647");
  }
  return proc;
}

// A detached mount of one hierarchy; with a path of the host, of that group alone.
int OpenHierarchy(const CgroupMountPlan& cgroup, unsigned attributes, size_t index) {
  if (cgroup.host_path != nullptr) {
    const int tree = open_tree(AT_FDCWD, cgroup.host_path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
      FailSetup(Step::kCgroupMount, errno, index);
    SetAttributes(tree, attributes, false, Step::kCgroupMount, index);
    return tree;
  }
  char keys[128] = {};
  const char* list[16] = {};
  std::strncpy(keys, cgroup.options, sizeof keys - 1);
  size_t count = 0;
  if (std::strncmp(keys, "name=", 5) == 0)
    list[count++] = "none";
  char* rest = keys;
  for (char* key = nullptr; (key = strsep(&rest, ",")) != nullptr && count + 1 < std::size(list);) {
    if (*key != '\0')
      list[count++] = key;
  }
  const bool v2 = cgroup.options[0] == '\0';
  return NewMount(v2 ? "cgroup2" : "cgroup", list, attributes, Step::kCgroupMount, index);
}

}  // namespace

void MountCgroups(const SetupPlan& plan, int target, bool read_only) {
  const unsigned attributes = kNoSuidDevExec | (read_only ? MOUNT_ATTR_RDONLY : 0);
  if (plan.cgroups[0].name[0] == '\0') {
    Attach(OpenHierarchy(plan.cgroups[0], attributes, 0), target, Step::kCgroupMount);
    return;
  }
  const char* options[] = {"mode=755", nullptr};
  const int top = NewMount("tmpfs", options, kNoSuidDevExec, Step::kCgroupMount);
  Attach(top, target, Step::kCgroupMount);
  for (size_t i = 0; i < plan.cgroup_count; ++i) {
    const CgroupMountPlan& cgroup = plan.cgroups[i];
    if (mkdirat(top, cgroup.name, 0755) < 0)
      FailSetup(Step::kCgroupMount, errno, i);
    Attach(OpenHierarchy(cgroup, attributes, i), OpenOwn(top, cgroup.name, O_PATH | O_DIRECTORY), Step::kCgroupMount,
           i);
  }
  if (read_only)
    SetAttributes(top, MOUNT_ATTR_RDONLY, false, Step::kCgroupMount);
}

namespace {

void MountSys(const SetupPlan& plan, int root) {
  const int target = OpenMountPoint(root, "sys", Step::kSys);
  if (plan.host_network && (plan.user_namespace || plan.inner_root)) {
    // sysfs shows a network namespace that is not ours to show: the host's, read-only.
    const int host = open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (host < 0)
      FailSetup(Step::kSys, errno);
    SetAttributes(host, kNoSuidDevExec | MOUNT_ATTR_RDONLY, true, Step::kSys);
    Attach(host, target, Step::kSys);
    return;
  }
  const int sys = NewMount("sysfs", nullptr, kNoSuidDevExec | MOUNT_ATTR_RDONLY, Step::kSys);
  Attach(sys, target, Step::kSys);
  const int cgroups = OpenOwn(sys, "fs/cgroup", O_PATH | O_DIRECTORY);
  // None on a kernel without cgroups.
  if (cgroups >= 0 && plan.cgroup_count > 0)
    MountCgroups(plan, cgroups, true);
}

// Nodes by mknod; in a user namespace, where that is not allowed, the host's are shown after a look at what they are.
void MakeNodes(const SetupPlan& plan, int dev) {
  for (const Node& node : kNodes) {
    const dev_t device = makedev(node.major, node.minor);
    if (!plan.user_namespace && !plan.inner_root) {
      if (mknodat(dev, node.name, S_IFCHR | 0666, device) < 0)
        FailSetup(Step::kDev, errno);
      continue;
    }
    char path[32];
    std::snprintf(path, sizeof path, "/dev/%s", node.name);
    const int host = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    const int target = openat(dev, node.name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    struct stat status {};
    if (host < 0 || target < 0 || fstat(host, &status) < 0)
      FailSetup(Step::kDev, errno);
    if (!S_ISCHR(status.st_mode) || status.st_rdev != device)
      FailSetup(Step::kDev, ENODEV, 0, path);
    Attach(host, target, Step::kDev);
    close(host);
    close(target);
  }
}

}  // namespace

void MakeLinks(int dev) {
  static constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},
                                              {"/proc/self/fd/0", "stdin"},
                                              {"/proc/self/fd/1", "stdout"},
                                              {"/proc/self/fd/2", "stderr"},
                                              {"pts/ptmx", "ptmx"}};
  for (const auto& [to, name] : kLinks) {
    if (symlinkat(to, dev, name) < 0 && errno != EEXIST)
      FailSetup(Step::kDev, errno);
  }
}

namespace {

int Below(int dev, const char* name, Step step) {
  if (mkdirat(dev, name, 0755) < 0)
    FailSetup(step, errno);
  return OpenOwn(dev, name, O_PATH | O_DIRECTORY);
}

// A file or a node of the image's in its place is only a place to mount on.
void ShowConsole(int dev, int terminal) {
  int target = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (target < 0)
    target = openat(dev, "console", O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const int mount = open_tree(terminal, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  if (target < 0 || mount < 0)
    FailSetup(Step::kConsole, errno);
  Attach(mount, target, Step::kConsole);
  close(target);
}

}  // namespace

// The other end by TIOCGPTPEER: no name is looked up (CVE-2025-52565).
void MakeConsole(int dev, int pts) {
  const int master = OpenOwn(pts, "ptmx", O_RDWR | O_NOCTTY);
  int unlock = 0;
  if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
    FailSetup(Step::kConsole, errno);
  const int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0)
    FailSetup(Step::kConsole, errno);
  if (dev >= 0)
    ShowConsole(dev, terminal);
  SendDescriptor(Report::kConsole, master, Step::kConsole);
  for (int fd = 0; fd <= 2; ++fd) {
    if (dup2(terminal, fd) < 0)
      FailSetup(Step::kConsole, errno);
  }
  close(master);
  close(terminal);
}

namespace {

int MountDev(const SetupPlan& plan, int root) {
  static constexpr const char* kDev[] = {"mode=755", "size=65536k", nullptr};
  static constexpr const char* kPts[] = {"newinstance", "ptmxmode=0666", "mode=0620", "gid=5", nullptr};
  static constexpr const char* kPtsSingle[] = {"newinstance", "ptmxmode=0666", "mode=0620", nullptr};
  static constexpr const char* kShm[] = {"mode=1777", "size=65536k", nullptr};
  const unsigned no_exec = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  const int dev = NewMount("tmpfs", kDev, no_exec, Step::kDev);
  Attach(dev, OpenMountPoint(root, "dev", Step::kDev), Step::kDev);
  MakeNodes(plan, dev);
  MakeLinks(dev);
  const int pts = NewMount("devpts", plan.single_id ? kPtsSingle : kPts, no_exec, Step::kDevPts);
  Attach(pts, Below(dev, "pts", Step::kDevPts), Step::kDevPts);
  Attach(NewMount("tmpfs", kShm, kNoSuidDevExec, Step::kDevShm), Below(dev, "shm", Step::kDevShm), Step::kDevShm);
  Attach(NewMount("mqueue", nullptr, kNoSuidDevExec, Step::kDevMqueue), Below(dev, "mqueue", Step::kDevMqueue),
         Step::kDevMqueue);
  if (plan.terminal)
    MakeConsole(dev, pts);
  return dev;
}

}  // namespace

Mask::Mask(int null, bool detached) : null_(null), null_attached_(!detached) {
  struct stat status {};
  if (null < 0 || fstat(null, &status) < 0 || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3))
    FailSetup(Step::kMask, ENODEV, 0, "/dev/null is not what it should be");
}

void Mask::Cover(int target, size_t index) {
  struct stat status {};
  if (fstat(target, &status) < 0)
    FailSetup(Step::kMask, errno, index);
  const bool directory = S_ISDIR(status.st_mode);
  if (directory && !empty_attached_) {
    static constexpr const char* kEmpty[] = {"mode=555", "nr_inodes=2", nullptr};
    empty_ = NewMount("tmpfs", kEmpty, kNoSuidDevExec | MOUNT_ATTR_RDONLY, Step::kMask, index);
    Attach(empty_, target, Step::kMask, index);
    empty_attached_ = true;
  } else if (!directory && !null_attached_) {
    // Kernels before 6.15 copy no mount that is nowhere.
    Attach(null_, target, Step::kMask, index);
    null_attached_ = true;
  } else {
    const int mount = open_tree(directory ? empty_ : null_, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (mount < 0)
      FailSetup(Step::kMask, errno, index);
    Attach(mount, target, Step::kMask, index);
    close(mount);
  }
  close(target);
}

void CoverWithItself(int target, uint64_t attributes, size_t index) {
  const int mount = open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  if (mount < 0)
    FailSetup(Step::kReadOnly, errno, index);
  SetAttributes(mount, attributes, true, Step::kReadOnly, index);
  Attach(mount, target, Step::kReadOnly, index);
  close(mount);
  close(target);
}

bool WriteSysctl(int proc, const char* path, const char* value) {
  const int fd = OpenResolved(proc, path, O_WRONLY,
                              RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
  const bool good = fd >= 0 && write(fd, value, std::strlen(value)) >= 0;
  const int error = errno;
  if (fd >= 0)
    close(fd);
  errno = error;
  return good;
}

namespace {

// Timing of other containers shows in each processor's thermal counters.
void MaskThrottling(int root, Mask& mask) {
  for (int i = 0; i < kMaxProcessors; ++i) {
    char path[64];
    std::snprintf(path, sizeof path, "sys/devices/system/cpu/cpu%d/thermal_throttle", i);
    const int target = OpenOwn(root, path, O_PATH);
    if (target >= 0) {
      mask.Cover(target, kMaskedPathCount);
      continue;
    }
    *std::strrchr(path, '/') = '\0';
    const int processor = OpenOwn(root, path, O_PATH);
    if (processor < 0)
      return;
    close(processor);
  }
}

bool IsBelow(const char* path, const char* top) { return std::strncmp(path, top, std::strlen(top)) == 0; }

}  // namespace

void HideKernelPaths(int root, const char* top, Mask& mask) {
  for (size_t i = 0; i < kMaskedPathCount; ++i) {
    if (!IsBelow(kMaskedPaths[i], top))
      continue;
    const int target = OpenOwn(root, kMaskedPaths[i], O_PATH);
    if (target >= 0)
      mask.Cover(target, i);
    else if (errno != ENOENT && errno != ENOTDIR)
      FailSetup(Step::kMask, errno, i);
  }
  for (size_t i = 0; i < kReadOnlyPathCount; ++i) {
    if (!IsBelow(kReadOnlyPaths[i], top))
      continue;
    const int target = OpenOwn(root, kReadOnlyPaths[i], O_PATH);
    if (target < 0 && errno == ENOENT)
      continue;
    if (target < 0)
      FailSetup(Step::kReadOnly, errno, i);
    CoverWithItself(target, kNoSuidDevExec | MOUNT_ATTR_RDONLY, i);
  }
}

KernelMounts MountKernelFileSystems(const SetupPlan& plan, int root) {
  umask(0);
  KernelMounts out;
  out.proc = MountProc(plan, root);
  MountSys(plan, root);
  out.dev = MountDev(plan, root);
  Mask mask(OpenOwn(out.dev, "null", O_PATH));
  HideKernelPaths(root, "", mask);
  MaskThrottling(root, mask);
  umask(022);
  return out;
}

}  // namespace gantry::runner
