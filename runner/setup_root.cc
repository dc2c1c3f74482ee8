#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <span>

#include "libimage/base/pass_descriptor.h"
#include "runner/setup_steps.h"

namespace gantry::runner {
namespace {

// What the file system context says about its failure ("e overlay: ..."), without the severity.
void ReadContextMessage(int context, char* into, size_t capacity) {
  const ssize_t size = read(context, into, capacity - 1);
  into[size > 0 ? size : 0] = '\0';
  if (size > 2)
    std::memmove(into, into + 2, static_cast<size_t>(size) - 1);
}

[[noreturn]] void FailContext(int context, Step step, size_t index) {
  const int error = errno;
  char message[160];
  ReadContextMessage(context, message, sizeof message);
  FailSetup(step, error, index, message);
}

int OpenDirectory(const char* path, size_t index) {
  const int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    FailSetup(Step::kOpenLayer, errno, index);
  return fd;
}

struct FdPath {
  explicit FdPath(int fd) { std::snprintf(text, sizeof text, "/proc/self/fd/%d", fd); }
  char text[32];
};

// Options that hold for every overlay: no trust in attributes of layers that would lead to other directories, no
// fsync for a tree that goes away with the container.
constexpr const char* kOverlayOptions[][2] = {{"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}};

bool SetText(int context, const char* key, const char* value) {
  return fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) == 0;
}

// Linux 6.8 and newer: layers one by one, as many as the kernel stacks. -1 when this kernel does not know lowerdir+.
int NewOverlay(const SetupPlan& plan) {
  const int context = fsopen("overlay", FSOPEN_CLOEXEC);
  if (context < 0)
    FailSetup(Step::kOverlay, errno);
  for (size_t i = 0; i < plan.layer_count; ++i) {
    const int layer = OpenDirectory(plan.layers[i], i);
    if (!SetText(context, "lowerdir+", FdPath(layer).text)) {
      if (i == 0 && errno == EINVAL) {
        close(context);
        return -1;
      }
      FailContext(context, Step::kOverlay, i);
    }
    close(layer);
  }
  const int upper = OpenDirectory(plan.upper, plan.layer_count);
  const int work = OpenDirectory(plan.work, plan.layer_count);
  bool good = SetText(context, "source", "overlay") && SetText(context, "upperdir", FdPath(upper).text) &&
              SetText(context, "workdir", FdPath(work).text);
  for (const auto& [key, value] : kOverlayOptions) good = good && SetText(context, key, value);
  good = good && fsconfig(context, FSCONFIG_SET_FLAG, "volatile", nullptr, 0) == 0;
  if (plan.user_xattrs)
    good = good && fsconfig(context, FSCONFIG_SET_FLAG, "userxattr", nullptr, 0) == 0;
  if (!good || fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) {
    if (errno != EINVAL)
      FailContext(context, Step::kOverlay, 0);
    // Before Linux 6.5 every option is taken, and looked at only now.
    close(context);
    return -1;
  }
  const int mount = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV);
  if (mount < 0)
    FailContext(context, Step::kOverlay, 0);
  close(context);
  close(upper);
  close(work);
  return mount;
}

}  // namespace

void FailSetup(Step step, int error, size_t index, const char* detail) {
  Report report;
  report.step = step;
  report.error = error;
  report.index = static_cast<uint32_t>(index);
  std::strncpy(report.detail, detail, sizeof report.detail - 1);
  send(kControlFd, &report, sizeof report, MSG_NOSIGNAL);
  _exit(125);
}

void SendDescriptor(Report::Kind kind, int fd, Step step) {
  Report report;
  report.kind = kind;
  if (!PassDescriptors(kControlFd, std::span(&fd, 1), {reinterpret_cast<const char*>(&report), sizeof report}))
    FailSetup(step, errno);
}

int OpenResolved(int dir, const char* path, uint64_t flags, uint64_t resolve, mode_t mode) {
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  for (int attempt = 0;; ++attempt) {
    const long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    // EAGAIN: something was renamed on the way.
    if (fd >= 0 || errno != EAGAIN || attempt == 32)
      return static_cast<int>(fd);
  }
}

int OpenInContainer(int root, const char* path, uint64_t flags) {
  return OpenResolved(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int OpenDevPts(int root, const char* otherwise) {
  const int pts = OpenInContainer(root, "/dev/pts", O_PATH | O_DIRECTORY);
  struct statfs status {};
  if (pts < 0 || fstatfs(pts, &status) < 0)
    FailSetup(Step::kConsole, errno);
  if (status.f_type != DEVPTS_SUPER_MAGIC)
    FailSetup(Step::kConsole, ENODEV, 0, otherwise);
  return pts;
}

int OpenOrMake(int root, const char* path, bool directory, Step step, size_t index) {
  static char prefix[4096];
  const size_t length = std::strlen(path);
  if (length >= sizeof prefix)
    FailSetup(step, ENAMETOOLONG, index);
  int fd = OpenInContainer(root, path, directory ? O_PATH | O_DIRECTORY : O_PATH);
  int parent = fd < 0 && errno == ENOENT ? fcntl(root, F_DUPFD_CLOEXEC, 0) : -1;
  for (size_t begin = 1; parent >= 0 && begin < length; ++begin) {
    const char* slash = std::strchr(path + begin, '/');
    const size_t end = slash != nullptr ? static_cast<size_t>(slash - path) : length;
    const bool last = end == length;
    std::memcpy(prefix, path, end);
    prefix[end] = '\0';
    const bool make_directory = directory || !last;
    fd = OpenInContainer(root, prefix, make_directory ? O_PATH | O_DIRECTORY : O_PATH);
    if (fd < 0 && errno == ENOENT) {
      const char* name = prefix + begin;
      // A dangling link is EEXIST here, and the end.
      const int made = make_directory
                           ? mkdirat(parent, name, 0755)
                           : openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
      if (made < 0)
        FailSetup(step, errno, index, errno == EEXIST ? "a link in the image leads to nothing" : "");
      if (!make_directory)
        close(made);
      fd = OpenInContainer(root, prefix, make_directory ? O_PATH | O_DIRECTORY : O_PATH);
    }
    close(parent);
    parent = last ? -1 : fd;
    if (fd < 0)
      break;
    begin = end;
  }
  struct statfs status {};
  struct stat file {};
  if (fd < 0 || fstatfs(fd, &status) < 0 || fstat(fd, &file) < 0)
    FailSetup(step, errno, index);
  if (status.f_type == PROC_SUPER_MAGIC || status.f_type == SYSFS_MAGIC || status.f_type == CGROUP2_SUPER_MAGIC ||
      status.f_type == CGROUP_SUPER_MAGIC)
    FailSetup(step, EPERM, index, "it leads into a file system of the kernel");
  if (S_ISDIR(file.st_mode) != directory)
    FailSetup(step, directory ? ENOTDIR : EISDIR, index);
  return fd;
}

int OpenMountPoint(int root, const char* name, Step step) {
  const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  int fd = OpenResolved(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve);
  if (fd < 0 && errno == ENOENT && mkdirat(root, name, 0755) == 0)
    fd = OpenResolved(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve);
  if (fd < 0)
    FailSetup(step, errno, 0, errno == ENOTDIR || errno == ELOOP ? "the image has a link or a file in its place" : "");
  return fd;
}

int NewMount(const char* type, const char* const* options, unsigned attributes, Step step, size_t index,
             const char* source) {
  const int context = fsopen(type, FSOPEN_CLOEXEC);
  if (context < 0)
    FailSetup(step, errno, index);
  SetText(context, "source", source != nullptr ? source : type);
  for (; options != nullptr && *options != nullptr; ++options) {
    char key[64];
    const char* equals = std::strchr(*options, '=');
    const size_t size = equals != nullptr ? static_cast<size_t>(equals - *options) : std::strlen(*options);
    std::memcpy(key, *options, std::min(size, sizeof key - 1));
    key[std::min(size, sizeof key - 1)] = '\0';
    const int set = equals != nullptr ? fsconfig(context, FSCONFIG_SET_STRING, key, equals + 1, 0)
                                      : fsconfig(context, FSCONFIG_SET_FLAG, key, nullptr, 0);
    if (set < 0)
      FailContext(context, step, index);
  }
  if (fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    FailContext(context, step, index);
  const int mount = fsmount(context, FSMOUNT_CLOEXEC, attributes);
  if (mount < 0)
    FailContext(context, step, index);
  close(context);
  return mount;
}

// Where the runner is in a chroot, the root of the mount namespace is not ours, and would stay: whoever enters the
// namespace later, as exec does, would be at the host's. Nothing of what becomes ours reaches the host's mounts.
void TakeRootOfNamespace() {
  struct statx before {};
  struct statx after {};
  const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  if (self < 0 || statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &before) < 0 || setns(self, CLONE_NEWNS) < 0 ||
      statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &after) < 0)
    FailSetup(Step::kPivot, errno);
  close(self);
  const bool same = before.stx_mnt_id == after.stx_mnt_id && before.stx_ino == after.stx_ino;
  if (!same && mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0)
    FailSetup(Step::kPivot, errno);
}

// The old root ends up on top of the new one and is let go whole: nothing of the host stays mounted. Where it is
// `shared` with the host, it is made its slave first, or the host's mounts would be undone with ours. By its own
// descriptor: "." is the new root to mount(2), whose mounts keep what they share, and the old one to umount2(2) alone.
void Pivot(int root, bool shared) {
  TakeRootOfNamespace();
  const int old = shared ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if ((shared && old < 0) || fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
    FailSetup(Step::kPivot, errno);
  if (shared && (fchdir(old) < 0 || mount(nullptr, ".", nullptr, MS_REC | MS_SLAVE, nullptr) < 0))
    FailSetup(Step::kPivot, errno);
  if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
    FailSetup(Step::kPivot, errno);
  if (old >= 0)
    close(old);
}

void Attach(int mount, int target, Step step, size_t index) {
  if (move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
    FailSetup(step, errno, index);
}

void SetAttributes(int mount, uint64_t attributes, bool recursive, Step step, size_t index) {
  mount_attr change = {};
  change.attr_set = attributes;
  const unsigned flags = AT_EMPTY_PATH | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0U);
  if (mount_setattr(mount, "", flags, &change, sizeof change) < 0)
    FailSetup(step, errno, index);
}

// One page of options: relative names below /proc/self/fd are the shortest there are.
int MountRootByOptions(const SetupPlan& plan) {
  static char options[4096];
  size_t used = 0;
  const auto add = [&](const char* text, int number = -1) {
    const int size = number < 0 ? std::snprintf(options + used, sizeof options - used, "%s", text)
                                : std::snprintf(options + used, sizeof options - used, "%s%d", text, number);
    if (size < 0 || static_cast<size_t>(size) >= sizeof options - used)
      FailSetup(Step::kOverlay, E2BIG, 0, "too many layers for this kernel");
    used += static_cast<size_t>(size);
  };
  for (size_t i = 0; i < plan.layer_count; ++i) add(i == 0 ? "lowerdir=" : ":", OpenDirectory(plan.layers[i], i));
  add(",upperdir=", OpenDirectory(plan.upper, plan.layer_count));
  add(",workdir=", OpenDirectory(plan.work, plan.layer_count));
  for (const auto& [key, value] : kOverlayOptions) {
    for (const char* part : {",", key, "=", value}) add(part);
  }
  add(plan.user_xattrs ? ",volatile,userxattr" : ",volatile");
  if (chdir("/proc/self/fd") < 0 || mount("overlay", plan.mount_point, "overlay", MS_NODEV, options) < 0)
    FailSetup(Step::kOverlay, errno);
  return OpenDirectory(plan.mount_point, plan.layer_count);
}

void PlaceRoot(int root, const char* place) {
  if (move_mount(root, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0 &&
      (errno != EACCES || move_mount(root, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0))
    FailSetup(Step::kAttachRoot, errno);
}

int MountRoot(const SetupPlan& plan) {
  const int root = NewOverlay(plan);
  if (root < 0)
    return MountRootByOptions(plan);
  if (move_mount(root, "", AT_FDCWD, plan.mount_point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    FailSetup(Step::kAttachRoot, errno);
  return root;
}

}  // namespace gantry::runner
