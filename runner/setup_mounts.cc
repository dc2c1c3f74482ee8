// The mounts of a bundle, in its order: made detached, and moved onto descriptors that were resolved inside the root.
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "runner/setup_steps.h"

namespace gantry::runner {
namespace {

constexpr size_t kLongestValue = 255;

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

}  // namespace

int OpenTop(int root, const char* name, size_t index) {
  const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  int fd = OpenResolved(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve);
  if (fd < 0 && errno == ENOENT && mkdirat(root, name, 0755) == 0)
    fd = OpenResolved(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve);
  if (fd < 0)
    FailSetup(Step::kMountTarget, errno, index, "a link or a file is in its place");
  return fd;
}

namespace {

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

// Of control groups that the parent still makes: once, as late as can be.
class Joining {
 public:
  explicit Joining(const SetupPlan& plan) : plan_(plan), pending_(plan.late_task_count > 0) {}
  bool pending() const { return pending_; }
  void Now() {
    if (std::exchange(pending_, false))
      JoinCgroups(plan_);
  }

 private:
  const SetupPlan& plan_;
  bool pending_;
};

int CloneSource(const MountPlan& mount, size_t index) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (mount.recursive ? AT_RECURSIVE : 0) |
                         (mount.source_nofollow ? AT_SYMLINK_NOFOLLOW : 0);
  const int tree = open_tree(AT_FDCWD, mount.source, flags);
  if (tree < 0)
    FailSetup(Step::kMountSource, errno, index);
  return tree;
}

// Whether it is what the process that opened it has: of its namespaces, or of /proc. Seen by what it is, for a path may
// lead there by links.
bool IsOfOpener(int tree, size_t index) {
  struct statfs status {};
  if (fstatfs(tree, &status) < 0)
    FailSetup(Step::kMountSource, errno, index);
  return status.f_type == PROC_SUPER_MAGIC || status.f_type == NSFS_MAGIC;
}

int OpenSource(const MountPlan& mount, Joining& joining, size_t index) {
  if (mount.tree >= 0)
    return mount.tree;
  const int tree = CloneSource(mount, index);
  if (!joining.pending() || !IsOfOpener(tree, index))
    return tree;
  close(tree);
  joining.Now();
  return CloneSource(mount, index);
}

void AttachBind(int root, const MountPlan& mount, Joining& joining, size_t index) {
  const int tree = OpenSource(mount, joining, index);
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

// A file system that begins empty and is to be read-only still gets what is copied, made and mounted in it.
bool IsSealed(const MountPlan& mount) {
  return (mount.set & MOUNT_ATTR_RDONLY) != 0 && !mount.remount &&
         (mount.copy_up || std::strcmp(mount.type, "tmpfs") == 0);
}

void AttachNew(int root, const MountPlan& mount, size_t index) {
  const bool takes = mount.copy_up || TakesMode(mount);
  const int covered = takes ? OpenInContainer(root, mount.target, O_RDONLY | O_DIRECTORY) : -1;
  const int target = OpenTarget(root, mount, true, index);
  if (TooLong(mount)) {
    MountByOptions(mount, target, index);
    return;
  }
  const auto attributes = static_cast<unsigned>(mount.set & ~(IsSealed(mount) ? uint64_t{MOUNT_ATTR_RDONLY} : 0));
  const int tree = NewMount(mount.type, mount.data, attributes, Step::kMount, index, mount.source);
  if (covered >= 0)
    TakeFromCovered(covered, mount, tree, index);
  Attach(tree, target, Step::kMount, index);
  ChangePropagation(tree, mount.propagation, mount.propagation_all, index);
  close(target);
  close(tree);
}

void Remount(int root, const MountPlan& mount, size_t index) {
  const int target = OpenInContainer(root, mount.target, O_PATH);
  if (target < 0)
    FailSetup(Step::kMountTarget, errno, index);
  ChangeTree(target, mount.set, mount.clear, false, index);
  ChangeTree(target, mount.set_all, mount.clear_all, true, index);
  ChangePropagation(target, mount.propagation, mount.propagation_all, index);
  close(target);
}

void AttachCgroups(const SetupPlan& plan, int root, const MountPlan& mount, size_t index) {
  const int target = OpenTarget(root, mount, true, index);
  if (plan.cgroup_count > 0)
    MountCgroups(plan, target, (mount.set & MOUNT_ATTR_RDONLY) != 0);
  close(target);
}

// Whether the new file system is the same whatever control groups this process is in. What is copied into a tmpfs is
// charged to them.
bool CanComeFirst(const MountPlan& mount) {
  for (const char* type : {"proc", "sysfs", "tmpfs", "devpts", "mqueue"}) {
    if (std::strcmp(mount.type, type) == 0)
      return !mount.copy_up;
  }
  return false;
}

}  // namespace

void AttachMounts(const SetupPlan& plan, const BundlePlan& bundle, int root) {
  Joining joining(plan);
  for (size_t i = 0; i < bundle.mount_count; ++i) {
    const MountPlan& mount = bundle.mounts[i];
    if (*mount.type == '\0') {
      AttachBind(root, mount, joining, i);
      continue;
    }
    if (mount.remount) {
      Remount(root, mount, i);
      continue;
    }
    if (!CanComeFirst(mount))
      joining.Now();
    if (std::strcmp(mount.type, "cgroup") == 0)
      AttachCgroups(plan, root, mount, i);
    else
      AttachNew(root, mount, i);
  }
  joining.Now();
}

void SealMounts(const BundlePlan& bundle, int root) {
  // By a later mount there or above.
  const auto covered = [&](size_t index) {
    const char* below = bundle.mounts[index].target;
    for (size_t i = index + 1; i < bundle.mount_count; ++i) {
      const size_t size = std::strlen(bundle.mounts[i].target);
      if (!bundle.mounts[i].remount && std::strncmp(below, bundle.mounts[i].target, size) == 0 &&
          (below[size] == '\0' || below[size] == '/'))
        return true;
    }
    return false;
  };
  for (size_t i = 0; i < bundle.mount_count; ++i) {
    if (!IsSealed(bundle.mounts[i]) || covered(i))
      continue;
    const int target = OpenInContainer(root, bundle.mounts[i].target, O_PATH);
    if (target < 0)
      FailSetup(Step::kMountTarget, errno, i);
    SetAttributes(target, MOUNT_ATTR_RDONLY, false, Step::kMount, i);
    close(target);
  }
}

}  // namespace gantry::runner
