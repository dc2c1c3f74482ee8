// What one container is: plain values, made before anything runs.
//
// Plan merges the image's configuration with the command line and checks both; it does no I/O, so that every rule of
// precedence has a test. What only the rootfs can tell (which uid "www-data" is) stays a name here and is resolved by
// user.h once the rootfs is there.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libimage/model/config.h"
#include "libimage/model/execution.h"
#include "runner/net/network_request.h"
#include "runner/spec.h"

namespace gantry::runner {

constexpr size_t kMaxVolumes = 128;
constexpr uint64_t kDefaultPidsLimit = 2048;
constexpr unsigned kDefaultStopSeconds = 10;

// Bits as in capabilities(7). Docker's default set without AUDIT_WRITE, MKNOD and NET_RAW: CHOWN DAC_OVERRIDE FOWNER
// FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT.
extern const uint64_t kDefaultCapabilities;

// Something shown at `target`; nosuid and nodev.
struct Volume {
  enum class Kind {
    kHost,   // a file or directory of the host
    kEmpty,  // a directory of the pod's, empty at first; apps that name the same one share it
    kTmpfs,  // in memory, the app's alone
  };
  std::string source = {};  // kHost: absolute, in the host; kEmpty: a name
  std::string target = {};  // absolute, in the container; links in it are resolved inside the rootfs
  bool read_only = false;
  Kind kind = Kind::kHost;
  bool recursive = true;                   // kHost: with all that is mounted below it
  std::optional<uint32_t> uid, gid, mode;  // of kEmpty and kTmpfs
  std::optional<uint64_t> size;            // of kTmpfs, in bytes
  bool executable = false;                 // kTmpfs: its files may be executed

  // "SRC:DST[:ro|:rw]"; kUsage for anything else, for a relative path, and for a target at or below /proc or /sys.
  static Volume Parse(const std::string& text);
  friend bool operator==(const Volume&, const Volume&) = default;
};

enum class Network {
  kNone,     // a network namespace with only a loopback device
  kHost,     // the host's
  kPrivate,  // one that reaches others through the host
  kNamed,    // those of CNI configurations
};

// A file at /run/secrets/NAME, in memory. `source` is read at the start and its bytes are stored nowhere.
struct Secret {
  std::string name, source;
  uint32_t uid = 0, gid = 0, mode = 0400;
  friend bool operator==(const Secret&, const Secret&) = default;
};

// A device node of the host.
struct DeviceNode {
  std::string source, target;  // absolute
  std::string access = "rwm";
  friend bool operator==(const DeviceNode&, const DeviceNode&) = default;
};

// What a control group allows the app. What is absent is not limited.
struct Limits {
  struct Rate {
    enum class Kind { kReadBytes, kWriteBytes, kReadOperations, kWriteOperations };
    Kind kind = Kind::kReadBytes;
    std::string device;  // absolute
    uint64_t per_second = 0;
    friend bool operator==(const Rate&, const Rate&) = default;
  };
  std::optional<int64_t> memory, memory_swap, memory_reservation;  // bytes; swap counts memory too, -1 is no limit
  std::optional<uint64_t> cpu_microseconds;                        // of each 100000
  std::optional<uint64_t> cpu_shares, io_weight;
  std::optional<int64_t> pids;  // absent: kDefaultPidsLimit, where there is a controller; -1: none
  std::string cpus, memory_nodes;
  std::vector<Rate> rates;
  friend bool operator==(const Limits&, const Limits&) = default;
};

// What the app and what comes after it may call.
struct Filter {
  enum class Kind { kDefault, kNone, kProfile };
  Kind kind = Kind::kDefault;
  std::vector<sock_filter> program = {};  // of kProfile
  friend bool operator==(const Filter& a, const Filter& b);
};

// A command of the app's own life, executed in its container as root: appc's event handlers.
struct EventHandler {
  std::vector<std::string> args;
  friend bool operator==(const EventHandler&, const EventHandler&) = default;
};

// A volume that has a name, by which mount points of images get it (rkt's --volume).
struct NamedVolume {
  std::string name;
  Volume volume;                       // without a target
  std::optional<bool> read_only = {};  // over what a mount point says
  friend bool operator==(const NamedVolume&, const NamedVolume&) = default;
};

// A place where an image wants a volume.
struct MountPoint {
  std::string name;
  std::string path;  // absolute
  bool read_only = false;
  friend bool operator==(const MountPoint&, const MountPoint&) = default;
};

// As given on the command line; what is absent comes from the image.
struct RunOptions {
  std::vector<std::string> args = {};          // replaces the image's Cmd when not empty
  std::optional<std::string> entrypoint = {};  // replaces Entrypoint and drops Cmd; empty means none
  std::vector<std::string> env = {};           // "NAME=value", over the image's; NAME alone removes it
  std::optional<std::string> user = {};        // over the image's
  std::optional<std::string> working_dir = {};
  std::string hostname = {};  // empty: the host's with the host's network, else from the pod's UUID
  std::vector<std::string> volumes = {};
  Network network = Network::kNone;
  NetworkRequest net = {};
  bool interactive = false;  // stdin is ours; else /dev/null
  bool terminal = false;     // a terminal of its own
  std::string terminal_type = "xterm";
  bool read_only_rootfs = false;

  std::string name = {};                  // of the app; empty: from the image
  std::vector<Volume> more_volumes = {};  // --mount, --tmpfs
  std::vector<NamedVolume> named_volumes = {};
  std::vector<MountPoint> mount_points = {};  // of the image, and more by --mount volume=
  std::vector<EventHandler> pre_start = {}, post_stop = {};
  std::vector<Secret> secrets = {};
  std::vector<DeviceNode> devices = {};
  std::vector<std::string> cap_add = {}, cap_drop = {};  // names, or ALL
  std::optional<uint64_t> capabilities = {};             // instead of the default
  Limits limits = {};
  std::vector<SpecLimit> ulimits = {};
  std::vector<uint32_t> groups = {};
  std::optional<int> oom_score_adj = {};
  bool new_privileges = false;  // a program may gain some by being executed
  Filter filter = {};
  std::string seccomp_profile = {};  // a file to read the filter from, which is done before Plan
  std::string apparmor = {}, selinux = {};
  std::optional<int> stop_signal = {};
  std::optional<unsigned> stop_seconds = {};
  bool health = true;  // the image's health check counts
};

struct RunConfig {
  std::vector<std::string> args;  // never empty
  std::vector<std::string> env;   // unique names; PATH is always there
  std::string working_dir;        // absolute
  std::string user;               // as in user.h, unresolved
  std::string hostname;           // may be empty, see RunOptions
  std::vector<Volume> volumes;
  Network network = Network::kNone;
  NetworkRequest net;
  bool interactive = false;
  bool terminal = false;
  bool read_only_rootfs = false;
  uint64_t capabilities = kDefaultCapabilities;
  int stop_signal = image::kDefaultStopSignal;  // what the app gets when the runner is told to end
  unsigned stop_seconds = kDefaultStopSeconds;  // until it is killed
  std::vector<Secret> secrets;
  std::vector<DeviceNode> devices;
  Limits limits;
  std::vector<SpecLimit> ulimits;
  std::vector<uint32_t> groups;  // beside those of the user
  std::optional<int> oom_score_adj;
  bool new_privileges = false;
  Filter filter;
  std::string apparmor, selinux;
  std::optional<image::HealthCheck> health;  // with something to execute
  std::vector<EventHandler> pre_start, post_stop;
  unsigned sockets = 0;  // descriptors of ours, from 3 on, that the app gets (sd_listen_fds(3))
};

// kUsage when there is nothing to execute or an option cannot mean anything; kCorrupt when the image says something
// impossible (a NUL byte, a relative working directory with "..", an unknown stop signal); kUnsupported for an image
// that is not Linux.
RunConfig Plan(const image::ImageConfig& image, const RunOptions& options);

}  // namespace gantry::runner
