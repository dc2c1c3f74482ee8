// Control groups of a container, on cgroup v1, v2, both at once (hybrid), or none.
//
// One group "gantry-UUID" in every hierarchy that is there: on v1 below the runner's own group, so that what limits the
// runner limits the container; on v2 below the root, because a group that holds the runner may not have children with
// controllers. Without root a group is made only where the administrator delegated one.
// Joining costs no RCU grace period: v2 by CLONE_INTO_CGROUP, v1 by the child writing 0 to "tasks" (thread by thread
// moves skip the lock that cgroup.procs waits for).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libimage/base/fd.h"

namespace gantry::runner {

struct CgroupLimits {
  uint64_t pids = 0;  // 0: unlimited
};

// One hierarchy that the container sees at /sys/fs/cgroup/NAME (v2 alone: at /sys/fs/cgroup).
struct CgroupHierarchy {
  std::string name;     // "memory", "cpu,cpuacct", "systemd", "unified"; empty for v2 alone
  std::string options;  // for mounting: "memory", "name=systemd"; empty for v2
};

class Cgroup {
 public:
  // Where the groups of `uuid` would be made; nothing is touched. Empty on a machine without cgroups.
  static Cgroup Locate(const std::string& uuid);

  // Makes them and sets the limits and, on v1, Docker's default device rules. Groups that may not be made are left out
  // and said in note(); as root that is an error only for reasons other than a read-only or absent file system.
  void Make(const CgroupLimits& limits);

  const std::vector<std::string>& paths() const { return paths_; }  // located or made groups, absolute
  const std::vector<CgroupHierarchy>& hierarchies() const { return hierarchies_; }
  const std::vector<UniqueFd>& tasks() const { return tasks_; }  // v1 files to which the child writes "0"
  int unified() const { return unified_.get(); }                 // for CLONE_INTO_CGROUP, -1 when there is none
  const std::string& note() const { return note_; }

  // Closes the descriptors, once the child has joined.
  void CloseDescriptors();

  // Kills what is in the groups and removes them, waiting up to five seconds for the dying. False when one is left.
  // Takes only paths that end in "/gantry-" + `uuid` below /sys/fs/cgroup.
  static bool Remove(const std::vector<std::string>& paths, const std::string& uuid);

 private:
  struct Place {
    CgroupHierarchy hierarchy;
    std::string path;
    bool v2 = false;
  };
  void MakeOne(const Place& place, const CgroupLimits& limits);
  std::vector<Place> places_;
  std::vector<std::string> paths_;
  std::vector<CgroupHierarchy> hierarchies_;
  std::vector<UniqueFd> tasks_;
  UniqueFd unified_;
  std::string note_;
};

}  // namespace gantry::runner
