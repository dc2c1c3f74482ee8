#include "runner/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

#include "libimage/base/error.h"
#include "runner/cgroup_files.h"

namespace gantry::runner {
namespace {

// Docker's devices for every container; making any node is allowed, opening only these.
constexpr const char* kDeviceRules[] = {
    "c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
    "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm",
};

bool IsOurs(const std::string& path, const std::string& uuid) {
  return !uuid.empty() && path.starts_with(std::string(kCgroupTop) + "/") && path.ends_with("/gantry-" + uuid) &&
         path.find("/../") == std::string::npos;
}

}  // namespace

Cgroup Cgroup::Locate(const std::string& uuid) {
  Cgroup out;
  const std::string name = "/gantry-" + uuid;
  const std::vector<CgroupMount> mounts = FindCgroupMounts();
  for (const CgroupMount& mount : mounts) {
    const bool below_own = !mount.v2 || (mount.name.empty() && geteuid() != 0);
    const std::string base = below_own ? GroupDirectory(mount, mount.own_group) : mount.path;
    out.places_.push_back({{mount.name, mount.controllers}, base + name, mount.v2});
  }
  if (mounts.empty())
    out.note_ = "this machine has no cgroups at /sys/fs/cgroup: no limits";
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
    const bool gone = RemoveGroup(path);
    all_gone = all_gone && gone;
  }
  return all_gone;
}

}  // namespace gantry::runner
