// What one container is: plain values, made before anything runs.
//
// Plan merges the image's configuration with the command line and checks both; it does no I/O, so that every rule of
// precedence has a test. What only the rootfs can tell (which uid "www-data" is) stays a name here and is resolved by
// user.h once the rootfs is there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libimage/model/config.h"
#include "libimage/model/execution.h"

namespace gantry::runner {

constexpr size_t kMaxVolumes = 128;
constexpr uint64_t kDefaultPidsLimit = 2048;

// Bits as in capabilities(7). Docker's default set without AUDIT_WRITE, MKNOD and NET_RAW: CHOWN DAC_OVERRIDE FOWNER
// FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT.
extern const uint64_t kDefaultCapabilities;

// A host file or directory shown at `target`; nosuid and nodev, with all that is mounted below it.
struct Volume {
  std::string source;  // absolute, in the host
  std::string target;  // absolute, in the container; links in it are resolved inside the rootfs
  bool read_only = false;

  // "SRC:DST[:ro|:rw]"; kUsage for anything else, for a relative path, and for a target at or below /proc or /sys.
  static Volume Parse(const std::string& text);
  friend bool operator==(const Volume&, const Volume&) = default;
};

enum class Network {
  kNone,  // a network namespace with only a loopback device
  kHost,  // the host's
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
  bool interactive = false;  // stdin is ours; else /dev/null
  bool terminal = false;     // a terminal of its own
  std::string terminal_type = "xterm";
  bool read_only_rootfs = false;
};

struct RunConfig {
  std::vector<std::string> args;  // never empty
  std::vector<std::string> env;   // unique names; PATH is always there
  std::string working_dir;        // absolute
  std::string user;               // as in user.h, unresolved
  std::string hostname;           // may be empty, see RunOptions
  std::vector<Volume> volumes;
  Network network = Network::kNone;
  bool interactive = false;
  bool terminal = false;
  bool read_only_rootfs = false;
  uint64_t capabilities = kDefaultCapabilities;
  uint64_t pids_limit = kDefaultPidsLimit;
  int stop_signal = image::kDefaultStopSignal;  // what the app gets when the runner is told to end
};

// kUsage when there is nothing to execute or an option cannot mean anything; kCorrupt when the image says something
// impossible (a NUL byte, a relative working directory with "..", an unknown stop signal); kUnsupported for an image
// that is not Linux.
RunConfig Plan(const image::ImageConfig& image, const RunOptions& options);

}  // namespace gantry::runner
