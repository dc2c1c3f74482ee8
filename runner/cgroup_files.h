// The hierarchies of control groups that this machine has, and the files of a group.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/fd.h"

namespace gantry::runner {

constexpr const char* kCgroupTop = "/sys/fs/cgroup";

struct CgroupMount {
  std::string controllers;  // as in /proc/self/cgroup: "memory", "cpu,cpuacct", "name=systemd"; empty for v2
  std::string name;         // below /sys/fs/cgroup; empty for v2 alone
  std::string path;         // where it is mounted
  std::string own_group;    // of the process: "/" or "/a/b"
  bool v2 = false;
};

// With the groups of `process`, a pid or "self". Empty on a machine without cgroups. One of v2 at most.
std::vector<CgroupMount> FindCgroupMounts(const std::string& process = "self");

// The directory of `group` in `mount`, or the top when it lies outside of what is mounted here.
std::string GroupDirectory(const CgroupMount& mount, const std::string& group);

// Where to look `path` up: what is below kCgroupTop from a descriptor of that, which is opened once and stays. The
// whole path leads through sysfs, for whose lock we would wait, and be waited for, while the kernel makes or takes
// apart a network.
struct CgroupPath {
  int from;
  const char* path;  // a part of the whole one
};
CgroupPath FromTop(const std::string& path);
UniqueFd OpenControl(const std::string& path, int flags);
bool HasAccess(const std::string& path, int mode);  // as access(2), by errno why not
bool MakeDirectory(const std::string& path);        // by errno why not
bool RemoveDirectory(const std::string& path);      // by errno why not

// The directory of the group of v2 that was given to those who run in it, to have groups of their own there, as systemd
// gives it to a service with Delegate=yes, and is ours; empty when `mount` has none that we are in.
std::string DelegatedGroup(const CgroupMount& mount);

// A group that hands controllers down may have no processes: those right in `group` go to one of ours below it.
void MakeRoom(const std::string& group);

// Writes a control file in one go; errno on failure, 0 otherwise.
int WriteControl(const std::string& path, std::string_view text);
std::string ReadControl(const std::string& path);

// cpuset groups of v1 begin empty, and nobody can join them so: takes over what the parent has.
void InitialiseCpuset(const std::string& group);

// The processes in `group` and below it, as far as they can be read.
std::vector<pid_t> GroupProcesses(const std::string& group);

// Kills what is in the group and below it.
void KillGroup(const std::string& group);

// Kills, and removes the group with all below it, waiting up to five seconds for the dying. False when it is left.
bool RemoveGroup(const std::string& group);

}  // namespace gantry::runner
