#include "runner/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr const char* kTop = "/sys/fs/cgroup";
constexpr size_t kMaxProcBytes = 1024 * 1024;
constexpr int kRemoveAttempts = 500;  // of 10 ms

// Docker's devices for every container; making any node is allowed, opening only these.
constexpr const char* kDeviceRules[] = {
    "c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
    "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
};

long MagicOf(const std::string& path) {
  struct statfs status {};
  return statfs(path.c_str(), &status) == 0 ? static_cast<long>(status.f_type) : 0;
}

// Writes a control file in one go; errno on failure, 0 otherwise.
int WriteControl(const std::string& path, std::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return errno;
  const int error = write(fd, text.data(), text.size()) < 0 ? errno : 0;
  close(fd);
  return error;
}

std::string ReadControl(const std::string& path) {
  const UniqueFd fd = OpenFile(path, O_RDONLY);
  return ReadAll(fd.get(), kMaxProcBytes, path);
}

struct OwnGroup {
  std::string controllers;  // as in /proc/self/cgroup: "memory", "name=systemd", "" for v2
  std::string path;         // "/" or "/a/b"
};

std::vector<OwnGroup> OwnGroups() {
  std::vector<OwnGroup> out;
  const std::string text = ReadControl("/proc/self/cgroup");
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

// The group's directory, or the hierarchy's top when the group lies outside of what is mounted here.
std::string Below(const std::string& mount, const std::string& group) {
  std::string path = mount + (group == "/" ? "" : group);
  struct stat status {};
  return group.find("/..") == std::string::npos && stat(path.c_str(), &status) == 0 ? path : mount;
}

std::string MountName(const std::string& controllers) {
  return controllers.starts_with("name=") ? controllers.substr(5) : controllers;
}

bool IsOurs(const std::string& path, const std::string& uuid) {
  return !uuid.empty() && path.starts_with(std::string(kTop) + "/") && path.ends_with("/gantry-" + uuid) &&
         path.find("/../") == std::string::npos;
}

// cpuset groups of v1 begin empty, and nobody can join them so.
void InitialiseCpuset(const std::string& path) {
  const std::string parent = path.substr(0, path.rfind('/'));
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) WriteControl(path + file, ReadControl(parent + file));
}

void KillMembers(const std::string& path) {
  if (WriteControl(path + "/cgroup.kill", "1") == 0)
    return;
  std::string text;
  try {
    text = ReadControl(path + "/cgroup.procs");
  } catch (const Error&) {
    return;
  }
  for (const char* at = text.data(); at < text.data() + text.size();) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(at, text.data() + text.size(), pid);
    if (error != std::errc())
      break;
    if (pid > 1)
      kill(pid, SIGKILL);
    at = end + 1;
  }
}

}  // namespace

Cgroup Cgroup::Locate(const std::string& uuid) {
  Cgroup out;
  const std::string name = "/gantry-" + uuid;
  const long top = MagicOf(kTop);
  if (top == CGROUP2_SUPER_MAGIC) {
    std::string base = kTop;
    if (geteuid() != 0) {
      for (const OwnGroup& own : OwnGroups()) base = own.controllers.empty() ? Below(kTop, own.path) : base;
    }
    out.places_.push_back({{}, base + name, true});
  } else if (top == TMPFS_MAGIC) {
    for (const OwnGroup& own : OwnGroups()) {
      const bool v2 = own.controllers.empty();
      CgroupHierarchy hierarchy{v2 ? "unified" : MountName(own.controllers), own.controllers};
      const std::string mount = std::string(kTop) + "/" + hierarchy.name;
      if (MagicOf(mount) != (v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC))
        continue;
      out.places_.push_back({std::move(hierarchy), (v2 ? mount : Below(mount, own.path)) + name, v2});
    }
  } else {
    out.note_ = "this machine has no cgroups at /sys/fs/cgroup: no limits";
  }
  for (const Place& place : out.places_) out.paths_.push_back(place.path);
  return out;
}

void Cgroup::MakeOne(const Place& place, const CgroupLimits& limits) {
  if (mkdir(place.path.c_str(), 0755) < 0) {
    const bool ordinary = errno == EROFS || errno == ENOENT || geteuid() != 0;
    if (!ordinary)
      ThrowErrno("make the cgroup " + place.path);
    note_ = "no cgroup in " + place.path.substr(0, place.path.rfind('/')) + ": no limits there";
    return;
  }
  paths_.push_back(place.path);
  hierarchies_.push_back(place.hierarchy);
  if (place.hierarchy.name == "cpuset")
    InitialiseCpuset(place.path);
  if (place.hierarchy.name == "devices" && geteuid() == 0) {
    if (WriteControl(place.path + "/devices.deny", "a") == 0) {
      for (const char* rule : kDeviceRules) WriteControl(place.path + "/devices.allow", rule);
    }
  }
  const std::string pids = place.path + "/pids.max";
  if (limits.pids != 0 && (place.v2 || place.hierarchy.options.find("pids") != std::string::npos)) {
    const std::string value = std::to_string(limits.pids);
    int error = WriteControl(pids, value);
    if (error == ENOENT && place.v2 && place.hierarchy.name.empty()) {
      // Controllers of v2 are there once the parent hands them down.
      for (const char* controller : {"+pids", "+memory", "+cpu"})
        WriteControl(place.path.substr(0, place.path.rfind('/')) + "/cgroup.subtree_control", controller);
      error = WriteControl(pids, value);
    }
    if (error != 0 && !(place.v2 && place.hierarchy.name == "unified"))
      note_ = "the number of processes is not limited: no pids controller in " + place.path;
  }
  if (place.v2) {
    unified_ = OpenFile(place.path, O_RDONLY | O_DIRECTORY);
  } else {
    tasks_.push_back(OpenFile(place.path + "/tasks", O_WRONLY));
  }
}

void Cgroup::Make(const CgroupLimits& limits) {
  paths_.clear();
  for (const Place& place : places_) MakeOne(place, limits);
}

void Cgroup::CloseDescriptors() {
  tasks_.clear();
  unified_.Reset();
}

bool Cgroup::Remove(const std::vector<std::string>& paths, const std::string& uuid) {
  bool all_gone = true;
  for (const std::string& path : paths) {
    if (!IsOurs(path, uuid))
      continue;
    bool gone = false;
    for (int attempt = 0; attempt < kRemoveAttempts && !gone; ++attempt) {
      gone = rmdir(path.c_str()) == 0 || errno == ENOENT;
      if (gone || errno != EBUSY)
        break;
      KillMembers(path);
      const timespec pause = {0, 10'000'000};
      nanosleep(&pause, nullptr);
    }
    all_gone = all_gone && gone;
  }
  return all_gone;
}

}  // namespace gantry::runner
