#include "runner/cgroup_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxProcBytes = 4 * 1024 * 1024;
constexpr int kRemoveAttempts = 500;  // of 10 ms
constexpr int kMaxDepth = 32;
constexpr int kRoomAttempts = 10;
constexpr const char* kRoom = "/gantry-runner";  // of the runner itself, in a group that was given to it

// A process that is forked may close all that it has inherited, and then have something else by that number.
int TopDescriptor() {
  static std::mutex mutex;
  static int top = -1;
  static struct stat known {};
  const std::scoped_lock lock(mutex);
  struct stat now {};
  if (top < 0 || fstat(top, &now) < 0 || now.st_dev != known.st_dev || now.st_ino != known.st_ino) {
    top = open(kCgroupTop, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top >= 0 && fstat(top, &known) < 0)
      top = -1;
  }
  return top;
}

int TryOpen(const std::string& path, int flags) {
  const CgroupPath at = FromTop(path);
  return openat(at.from, at.path, flags | O_CLOEXEC);
}

long MagicOf(const std::string& path) {
  const UniqueFd fd(TryOpen(path, O_PATH));
  struct statfs status {};
  return fd && fstatfs(fd.get(), &status) == 0 ? static_cast<long>(status.f_type) : 0;
}

struct OwnGroup {
  std::string controllers;
  std::string path;
};

std::vector<OwnGroup> OwnGroups(const std::string& process) {
  std::vector<OwnGroup> out;
  const std::string text = ReadControl("/proc/" + process + "/cgroup");
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second != std::string_view::npos)
      out.push_back({std::string(line.substr(first + 1, second - first - 1)), std::string(line.substr(second + 1))});
    begin = end + 1;
  }
  return out;
}

std::string MountName(const std::string& controllers) {
  return controllers.starts_with("name=") ? controllers.substr(5) : controllers;
}

// Groups right below `group`.
std::vector<std::string> Children(const std::string& group) {
  std::vector<std::string> out;
  const int fd = TryOpen(group, O_RDONLY | O_DIRECTORY);
  DIR* dir = fd < 0 ? nullptr : fdopendir(fd);
  if (dir == nullptr) {
    if (fd >= 0)
      close(fd);
    return out;
  }
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..")
      out.push_back(group + "/" + entry->d_name);
  }
  closedir(dir);
  return out;
}

void AddProcesses(const std::string& group, int depth, std::vector<pid_t>& into) {
  std::string text;
  try {
    text = ReadControl(group + "/cgroup.procs");
  } catch (const Error&) {
    return;
  }
  for (const char* at = text.data(); at < text.data() + text.size();) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(at, text.data() + text.size(), pid);
    if (error != std::errc())
      break;
    if (pid > 0)
      into.push_back(pid);
    at = end + 1;
  }
  if (depth == kMaxDepth)
    return;
  for (const std::string& child : Children(group)) AddProcesses(child, depth + 1, into);
}

bool IsGone(const std::string& group) { return !HasAccess(group, F_OK) && errno == ENOENT; }

bool RemoveOnce(const std::string& group, int depth) {
  if (RemoveDirectory(group) || errno == ENOENT)
    return true;
  for (const std::string& child : depth < kMaxDepth ? Children(group) : std::vector<std::string>())
    RemoveOnce(child, depth + 1);
  return RemoveDirectory(group) || errno == ENOENT;
}

}  // namespace

CgroupPath FromTop(const std::string& path) {
  constexpr std::string_view kTop = kCgroupTop;
  const bool below = path.size() > kTop.size() + 1 && path.starts_with(kTop) && path[kTop.size()] == '/';
  const int top = below ? TopDescriptor() : -1;
  return top < 0 ? CgroupPath{AT_FDCWD, path.c_str()} : CgroupPath{top, path.c_str() + kTop.size() + 1};
}

UniqueFd OpenControl(const std::string& path, int flags) {
  UniqueFd out(TryOpen(path, flags));
  if (!out)
    ThrowErrno("open " + Quoted(path));
  return out;
}

bool HasAccess(const std::string& path, int mode) {
  const CgroupPath at = FromTop(path);
  return faccessat(at.from, at.path, mode, 0) == 0;
}

bool MakeDirectory(const std::string& path) {
  const CgroupPath at = FromTop(path);
  return mkdirat(at.from, at.path, 0755) == 0;
}

bool RemoveDirectory(const std::string& path) {
  const CgroupPath at = FromTop(path);
  return unlinkat(at.from, at.path, AT_REMOVEDIR) == 0;
}

int WriteControl(const std::string& path, std::string_view text) {
  const int fd = TryOpen(path, O_WRONLY);
  if (fd < 0)
    return errno;
  const int error = write(fd, text.data(), text.size()) < 0 ? errno : 0;
  close(fd);
  return error;
}

std::string ReadControl(const std::string& path) {
  const UniqueFd fd = OpenControl(path, O_RDONLY);
  return ReadAll(fd.get(), kMaxProcBytes, path);
}

std::vector<CgroupMount> FindCgroupMounts(const std::string& process) {
  std::vector<CgroupMount> out;
  const long top = MagicOf(kCgroupTop);
  if (top != CGROUP2_SUPER_MAGIC && top != TMPFS_MAGIC)
    return out;
  for (const OwnGroup& own : OwnGroups(process)) {
    CgroupMount mount{own.controllers, {}, kCgroupTop, own.path, own.controllers.empty()};
    if (top == CGROUP2_SUPER_MAGIC) {
      if (mount.v2)
        out.push_back(std::move(mount));
      continue;
    }
    mount.name = mount.v2 ? "unified" : MountName(own.controllers);
    mount.path += "/" + mount.name;
    if (MagicOf(mount.path) == (mount.v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC))
      out.push_back(std::move(mount));
  }
  return out;
}

std::string DelegatedGroup(const CgroupMount& mount) {
  if (!mount.v2 || mount.own_group == "/")
    return {};
  std::string out = GroupDirectory(mount, mount.own_group);
  if (out.ends_with(kRoom))
    out.resize(out.size() - std::string_view(kRoom).size());
  const UniqueFd fd(TryOpen(out, O_RDONLY | O_DIRECTORY));
  struct stat status {};
  // Given to somebody else, it is nothing for root to make pods in: its owner can end them, and lift their limits.
  if (!fd || fstat(fd.get(), &status) < 0 || status.st_uid != geteuid() ||
      faccessat(fd.get(), "cgroup.procs", W_OK, 0) < 0)
    return {};
  for (const char* name : {"user.delegate", "trusted.delegate"}) {
    char value = 0;
    if (fgetxattr(fd.get(), name, &value, sizeof value) == sizeof value && value == '1')
      return out;
  }
  return {};
}

void MakeRoom(const std::string& group) {
  const std::string room = group + kRoom;
  if (!MakeDirectory(room) && errno != EEXIST)
    ThrowErrno("make the control group " + room);
  // Again, for what they have forked meanwhile.
  for (int attempt = 0; attempt < kRoomAttempts; ++attempt) {
    const std::string processes = ReadControl(group + "/cgroup.procs");
    if (processes.empty())
      return;
    for (size_t begin = 0; begin < processes.size();) {
      const size_t end = std::min(processes.find('\n', begin), processes.size());
      const int error = WriteControl(room + "/cgroup.procs", std::string_view(processes).substr(begin, end - begin));
      if (error != 0 && error != ESRCH)
        ThrowErrno("move a process of ours to the control group " + room, error);
      begin = end + 1;
    }
  }
}

std::string GroupDirectory(const CgroupMount& mount, const std::string& group) {
  if (group == "/")
    return mount.path;
  std::string path = mount.path + group;
  struct stat status {};
  const CgroupPath at = FromTop(path);
  return group.find("/..") == std::string::npos && fstatat(at.from, at.path, &status, 0) == 0 ? path : mount.path;
}

void InitialiseCpuset(const std::string& group) {
  const std::string parent = group.substr(0, group.rfind('/'));
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) WriteControl(group + file, ReadControl(parent + file));
}

std::vector<pid_t> GroupProcesses(const std::string& group) {
  std::vector<pid_t> out;
  AddProcesses(group, 0, out);
  return out;
}

void KillGroup(const std::string& group) {
  if (WriteControl(group + "/cgroup.kill", "1") == 0)
    return;
  for (const pid_t pid : GroupProcesses(group)) {
    if (pid > 1)
      kill(pid, SIGKILL);
  }
}

bool RemoveGroup(const std::string& group) {
  for (int attempt = 0; attempt < kRemoveAttempts; ++attempt) {
    if (RemoveOnce(group, 0))
      return true;
    // Below a mount that is read-only nothing can be removed, not even what is not there.
    if (errno == EROFS && IsGone(group))
      return true;
    if (errno != EBUSY)
      return false;
    KillGroup(group);
    const timespec pause = {0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
  return false;
}

}  // namespace gantry::runner
