// What is known of the containers of gantry-oci between one command and the next: a directory for each.
//
//   ROOT/ID/state.json    ContainerState
//   ROOT/ID/config.json   the bundle's as it was at `create`
//   ROOT/ID/start         the socket at which init waits to be started; its being there means "created"
//
// The directory is made before anything else of the container and removed after everything else, and state.json is
// written before each thing that would have to be cleaned up: whatever is killed, `delete --force` finds all of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/json.h"
#include "runner/bundle_cgroup.h"

namespace gantry::runner {

constexpr size_t kMaxContainerId = 255;
constexpr size_t kMaxStateBytes = 4 * 1024 * 1024;

enum class Status { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* ToString(Status status);

struct ContainerState {
  std::string version;  // of the bundle
  std::string id;
  pid_t pid = 0;  // 0 before there is one
  uint64_t start_time =
      0;  // of the process, in clock ticks since the machine's start: a number used again is another's
  std::string bundle;
  std::string rootfs;
  std::string created;  // RFC 3339
  std::string owner;
  std::map<std::string, std::string> annotations;
  bool set_up = false;    // before, the process is still the host's, and the container is "creating"
  bool own_pids = false;  // process 1 of a pid namespace: with it all the others end
  bool own_keys = true;   // a session keyring that is not the caller's, for what is executed in it, too
  std::string scope;      // systemd's unit; empty without
  BundleCgroup cgroup;

  bool Alive() const;

  // As hooks and `state` show it, specification 1.1, "State"; `pid` as the reader sees it.
  json::Object Print(Status status, pid_t shown_pid) const;
};

// Field 22 of /proc/PID/stat; nullopt when the process is gone or a zombie.
std::optional<uint64_t> StartTimeOf(pid_t pid);

class ContainerDir {
 public:
  // kUsage for an id that is none (letters, digits, "_+-." and not first "."); kFailed for one that is taken.
  static ContainerDir Create(const std::string& root, const std::string& id);
  static ContainerDir Open(const std::string& root, const std::string& id);  // kNotFound
  // Ids of all, sorted. Empty when there is no root.
  static std::vector<std::string> List(const std::string& root);

  const Dir& dir() const { return dir_; }
  const std::string& id() const { return id_; }

  void Save(const ContainerState& state) const;
  ContainerState Load() const;  // kNotFound when the creator died before it wrote one
  Status StatusOf(const ContainerState& state) const;

  void SaveConfig(std::string_view text) const;
  std::string LoadConfig() const;

  // Listens at the socket, and connects to it: kFailed when nobody waits there.
  UniqueFd Listen() const;
  UniqueFd Connect() const;
  void RemoveSocket() const;

  void Remove() const;

 private:
  ContainerDir(std::string root, std::string id, Dir dir);
  std::string SocketName() const;
  std::string root_;
  std::string id_;
  Dir dir_;
};

}  // namespace gantry::runner
