// Control groups of a container: one in every hierarchy of this machine.
//
// Joining, limits, freezing, counting and removal on cgroup v1, v2 and both at once (hybrid). What is asked for and no
// hierarchy can enforce is refused, never dropped. Joining costs no RCU grace period: v2 by CLONE_INTO_CGROUP, v1 by
// the child writing 0 to "tasks" (thread by thread moves skip the lock that cgroup.procs waits for).
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "runner/cgroup_files.h"
#include "runner/cgroup_writes.h"
#include "runner/spec_resources.h"

namespace gantry::runner {

class BundleCgroup {
 public:
  struct Group {
    std::string controllers;  // of v1: "memory", "name=systemd"; empty for v2
    std::string name;         // below /sys/fs/cgroup in the container; empty for v2 alone
    std::string path;         // absolute, in the host
    bool v2() const { return controllers.empty(); }
  };

  // An absolute `path` counts from the top of each hierarchy, another from the runtime's own group; empty is `id`
  // there. Nothing is touched. `lenient`: the runtime has no privileges in the host, so that a group that may not be
  // made is left out; limits that then have no group to stand in are refused all the same.
  static BundleCgroup Locate(const std::string& path, const std::string& id, bool lenient);

  // Of an app of a pod of gantry-run: `name` on v1 below the runner's own group, so that what limits the runner limits
  // the container; on v2 below one that was delegated to the runner, which moves to another there; else below the top,
  // because a group that holds the runner may not have children with controllers, and without root below its own.
  // Groups that may not be made are left out; as root only where the file system is read-only or absent.
  static BundleCgroup ForPod(const std::string& name);

  // Those of a running process, as far as we may join them.
  static BundleCgroup OfProcess(pid_t pid);

  // As Save wrote it.
  static BundleCgroup Load(const json::Cursor& at);
  json::Value Save() const;

  // Makes what a process is made in, the group of v2, so that the others can be made while that process is busy. False,
  // with nothing done, where all have to be there first: some may be left out, or there are no others.
  bool Begin();

  // Makes them and sets the limits. kFailed when a group is there already and has processes in it, unless it is to be
  // so (`populated`): systemd makes its scopes with a process.
  void Make(const SpecResources& resources, bool populated = false);

  // When what is there may be another's: removes groups that are empty, or are so in two seconds, and kills nobody.
  void RemoveEmpty() const;

  // Sets limits of groups that are there. With `devices` the rules about devices, too.
  void Apply(const SpecResources& resources, bool devices);

  // For a process that is to join one below: "PATH" in every hierarchy that has it, or "CONTROLLER[,...]:PATH" in those
  // of the controllers. kNotFound where there is none.
  void Descend(const std::string& where);

  // For a process that is to join: of v2 no group takes one that hands controllers down, as systemd has its own do in a
  // container. Then it is that of the container's first process, which has had to go to one below.
  void Follow(pid_t first);

  // Opens what a process that joins needs.
  void OpenForJoining();
  void CloseDescriptors();  // once it has joined
  const std::vector<UniqueFd>& tasks() const { return tasks_; }
  // Once begun: the files that a process writes "0" into to join the others, when they are made.
  std::vector<std::string> LateTasks() const;
  int unified() const { return unified_.get(); }

  const std::vector<Group>& groups() const { return groups_; }
  // The directory of the group that has `controller`; empty when none has it.
  std::string DirectoryOf(const std::string& controller) const;

  bool CanFreeze() const;
  bool Frozen() const;
  // Returns when all processes have stopped, or go on.
  void Freeze(bool frozen) const;

  std::vector<pid_t> Processes() const;
  // Kills what is left in them. False when a group is left.
  bool Remove() const;

 private:
  bool MakeGroup(const Group& group, bool populated) const;
  void Write(const std::vector<ControlWrite>& writes, bool v2);
  void ApplyDevices(const SpecResources& resources) const;
  void CheckUsage(const SpecMemory& memory) const;
  SpecResources WithoutV1(SpecResources resources) const;
  const Group* V2() const;

  std::vector<Group> groups_;
  std::string delegated_;  // below which that of v2 is
  std::vector<UniqueFd> tasks_;
  UniqueFd unified_;
  bool begun_ = false;
  bool lenient_ = false;
  bool tolerant_ = false;  // of read-only and absent hierarchies
};

}  // namespace gantry::runner
