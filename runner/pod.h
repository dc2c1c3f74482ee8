// One run's place in the store, and the promise that nothing of it outlives the runner but what is to stay.
//
//   pods/UUID/image        locked by flock while the run lives; what is in it says pod_record.h
//   pods/UUID/upper, work  the overlay's; the container's root is mounted over `upper`, or in a pod with ids of its own
//                          over the directory of the two: the pod's, or with several apps apps/NAME
//   pods/UUID/volumes/     empty volumes, which apps share
//   pods/UUID/network      what was attached, to be undone at the end (net/pod_network.h)
//   pods/UUID/APP.log      what a detached app wrote (pod_log.h)
//   pods/UUID/attach       the socket of a detached pod's runner (attach.h)
//
// Who attends to a pod, and its keeper, confine themselves (Pod::Confine) once it has lived for a moment: what ends
// before has no time to spare for that.
//
// Few files, because each costs the disk more than most of what else a start does.
//
// A Pod makes a small keeper process that outlives the runner. When the runner ends, even by kill -9, the keeper waits
// for the container to die (the kernel kills it with the runner), then removes the control groups and, unless the pod
// is kept, the directory. What a machine that crashed left behind, SweepPods removes: a pod whose lock nobody holds is
// dead.
//
// So a run is over for its user when the container's processes and control groups are gone; the kernel's dismantling of
// mounts and the disk's of directories, many milliseconds, are left to the keeper, who is done a moment later.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/confine/confine.h"
#include "libimage/model/image.h"
#include "runner/metadata_server.h"
#include "runner/net/pod_network.h"
#include "runner/own_ids.h"
#include "runner/pod_record.h"
#include "runner/userns.h"

namespace gantry::runner {

// In milliseconds, when a pod has lived for a moment.
constexpr int kSettled = 20;

// What stays allowed to who attends to the pod of that UUID below `pods`, with these control groups.
image::Confinement AttendanceConfinement(const std::string& pods, const std::string& uuid,
                                         const std::vector<std::string>& groups);

class Pod {
 public:
  // `pods` is the store's pods/ directory. `map` is given when the run has a user namespace; files in the pod may then
  // belong to ids that only its root may remove. As root a plan may ask for own ids, which the pod has until its keeper
  // is done. Starts the keeper: for callers with no thread but that of an EarlyNetwork. The time of creation is set
  // here.
  static Pod Create(const Dir& pods, PodPlan plan, std::optional<IdMap> map);
  // With one app of this image.
  static Pod Create(const Dir& pods, const image::Image& image, std::optional<IdMap> map);

  // A pod to be run later by Take, without a keeper; it is `kept`, and ready once Append has said kPrepared.
  static Pod Prepare(const Dir& pods, PodPlan plan, std::optional<IdMap> map);
  // One that is prepared; kFailed for any other.
  static Pod Take(const Dir& pods, const std::string& uuid, std::optional<IdMap> map);

  Pod(Pod&&) noexcept;
  Pod& operator=(Pod&&) = delete;
  // Removes, if Remove was not called, and swallows errors: the keeper and the next sweep try again.
  ~Pod();

  const std::string& uuid() const { return uuid_; }
  const std::string& path() const { return dir_.name(); }  // absolute
  std::string Path(const std::string& name) const { return path() + "/" + name; }
  const PodPlan& plan() const { return plan_; }
  const std::optional<IdMap>& map() const { return map_; }
  bool owns_ids() const { return own_ids_.has_value(); }  // the map is of ids that no other pod has
  const Dir& dir() const { return dir_; }

  // What its metadata service tells. It runs from ServeMetadata on, with a socket that listens in the pod's network, to
  // Remove; its URL is empty before.
  void Describe(PodMetadata metadata) { metadata_ = std::move(metadata); }
  bool WantsListener() const { return metadata_ && !metadata_server_; }
  void ServeMetadata(const UniqueFd& listener);
  std::string metadata_url() const { return metadata_server_ ? metadata_server_->url() : ""; }

  // Where an app has its upper and work directories and its root, absolute; and the name of its control groups.
  std::string AppPath(const std::string& app) const;
  std::string GroupName(const std::string& app) const;

  // From now on this process can touch the pod's directory and control groups, signal, and use what it has open; no
  // other file, no program, no other namespace. For one that has nothing left to do but to attend to the pod.
  void Confine() const;

  // Adds to what is known of it. Its time is set here.
  void Append(const PodEvent& event) const;

  // Gives the network namespace of `container`, our child, the network that the plan says; once, for all apps. It is
  // released by Remove. Before that network() is null.
  void AttachNetwork(pid_t container);
  const AttachedNetwork* network() const { return network_ ? &network_->attached() : nullptr; }

  // The keeper shares the mount namespace of `container`, a child of ours, so that the end of the container does not
  // have to wait until it is dismantled.
  void KeepMounts(pid_t container);

  // The control groups now, and the hold on the image's blobs; the directory by the keeper, for whom only process 1 of
  // a pid namespace waits, because the kernel would kill the keeper with it, and whoever has a network to be undone.
  // The container must have ended. Of a kept pod directory and blobs stay. The last call. kFailed for what is left to
  // gc, after the rest: we are confined, and can do no more than the keeper.
  void Remove();

  // It is kept no more: for one that could not be started.
  void Forget();

 private:
  Pod(std::string uuid, Dir pods, Dir dir, PodPlan plan, std::optional<IdMap> map);
  static Pod Make(const Dir& pods, PodPlan plan, std::optional<IdMap> map, bool runs);
  void Own(std::optional<OwnIds> ids);
  void MakeTrees() const;
  void StartKeeper();
  bool NeedsHelpers() const;
  void ConfineKeeper() const;

  std::string uuid_;
  Dir pods_;
  Dir dir_;
  UniqueFd lock_;
  PodPlan plan_;
  std::vector<std::string> groups_;  // paths
  std::optional<IdMap> map_;
  std::optional<OwnIds> own_ids_;
  std::optional<PodMetadata> metadata_;
  std::optional<MetadataServer> metadata_server_;
  std::optional<PodNetwork> network_;
  UniqueFd keeper_socket_;  // its end is the keeper's sign to begin
  pid_t keeper_ = -1;
};

// Removes the dead pods below `pods` that are not kept; returns how many. `map` as above.
size_t SweepPods(const Dir& pods, const std::optional<IdMap>& map);

// How old what is kept has to be, in seconds, to go.
struct SweepAges {
  uint64_t ended = 0;     // since the end, of pods that have ended or were killed
  uint64_t prepared = 0;  // since they were prepared
};
// The same with kept ones; their UUIDs.
std::vector<std::string> SweepPods(const Dir& pods, const std::optional<IdMap>& map, const SweepAges& ages);

// Removes one that nobody runs, kept or not. kFailed when it runs. Where its network cannot be undone it stays, and
// that is thrown; with `force` it goes all the same, and that is returned.
std::optional<Error> RemovePod(const Dir& pods, const std::string& uuid, const std::optional<IdMap>& map, bool force);

// A random (version 4) UUID in its usual spelling.
std::string NewUuid();

}  // namespace gantry::runner
