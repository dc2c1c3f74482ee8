// One run's place in the store, and the promise that nothing of it outlives the runner.
//
//   pods/UUID/image        locked by flock while the run lives. A line each: the digests that garbage collection must
//                          keep (of the manifest, the diff IDs), then the paths of its control groups
//   pods/UUID/upper, work  the overlay's; the container's root is mounted over the directory of the pod
//
// Few files, because each costs the disk more than most of what else a start does.
//
// A Pod makes a small keeper process that outlives the runner. When the runner ends, even by kill -9, the keeper waits
// for the container to die (the kernel kills it with the runner), then removes the control groups and the directory.
// What a machine that crashed left behind, SweepPods removes: a pod whose lock nobody holds is dead.
//
// So a run is over for its user when the container's processes and control groups are gone; the kernel's dismantling of
// mounts and the disk's of directories, many milliseconds, are left to the keeper, who is done a moment later.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "libimage/model/image.h"
#include "runner/cgroup.h"
#include "runner/userns.h"

namespace gantry::runner {

class Pod {
 public:
  // `pods` is the store's pods/ directory. `map` is given when the run has a user namespace; files in the pod may then
  // belong to ids that only its root may remove. Starts the keeper: for single-threaded callers.
  static Pod Create(const Dir& pods, const image::Image& image, std::optional<IdMap> map);

  Pod(Pod&&) noexcept;
  Pod& operator=(Pod&&) = delete;
  // Removes, if Remove was not called, and swallows errors: the keeper and the next sweep try again.
  ~Pod();

  const std::string& uuid() const { return uuid_; }
  const std::string& path() const { return dir_.name(); }  // absolute
  std::string Path(const std::string& name) const { return path() + "/" + name; }
  Cgroup& cgroup() { return cgroup_; }
  const std::optional<IdMap>& map() const { return map_; }

  // The keeper shares the mount namespace of `container`, a child of ours, so that the end of the container does not
  // have to wait until it is dismantled.
  void KeepMounts(pid_t container);

  // The control groups now, and the hold on the image's blobs; the directory by the keeper, for whom only process 1 of
  // a pid namespace waits, because the kernel would kill the keeper with it. The container must have ended. The last
  // call.
  void Remove();

 private:
  Pod(std::string uuid, Dir pods, Dir dir, UniqueFd lock, Cgroup cgroup, std::optional<IdMap> map);
  void StartKeeper();

  std::string uuid_;
  Dir pods_;
  Dir dir_;
  UniqueFd lock_;
  Cgroup cgroup_;
  std::optional<IdMap> map_;
  UniqueFd keeper_socket_;  // its end is the keeper's sign to begin
  pid_t keeper_ = -1;
};

// Removes the dead pods below `pods`; returns how many. `map` as above.
size_t SweepPods(const Dir& pods, const std::optional<IdMap>& map);

// A random (version 4) UUID in its usual spelling.
std::string NewUuid();

}  // namespace gantry::runner
