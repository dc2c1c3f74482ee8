// A container as the runtime specification writes it: config.json (opencontainers/runtime-spec, any 1.x), parsed.
//
// The reader is strict about what it acts on: a member of the wrong type, a number out of range, a duplicate key or a
// relative path where an absolute one belongs is kCorrupt, with the JSON pointer. Members that it does not know are
// passed over, as the specification demands of every runtime, except where ignoring one would loosen a container; what
// it knows and cannot do (intelRdt, a mount namespace of others) is kUnsupported. No I/O.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/json.h"
#include "runner/mount_options.h"
#include "runner/spec_resources.h"
#include "runner/spec_seccomp.h"
#include "runner/userns.h"

namespace gantry::runner {

constexpr size_t kMaxSpecBytes = 16 * 1024 * 1024;
constexpr size_t kMaxSpecItems = 4096;        // mounts, devices, arguments of one hook, masked paths...
constexpr size_t kMaxSpecArguments = 262144;  // of the process, and entries of its environment
constexpr size_t kMaxSpecHooks = 128;         // of one kind
constexpr const char kIsolationAnnotation[] = "dev.gantry.isolation";  // "namespaces", or "vm": bundle_machine.h
constexpr const char kKernelAnnotation[] = "dev.gantry.kernel";        // of a machine: a file of the host
constexpr const char kAcceleratorAnnotation[] = "dev.gantry.accel";    // "kvm", "tcg" or "auto"
constexpr uint32_t kMaxSpecId = 0xFFFFFFFE;
constexpr uint64_t kMaxSpecCpu = 8191;  // the most that a kernel is built for
constexpr size_t kMaxSpecRanges = 340;  // the kernel's limit of one id map

struct SpecUser {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<uint32_t> umask;
  std::vector<uint32_t> groups;
};

struct SpecLimit {
  int resource = 0;  // RLIMIT_
  uint64_t soft = 0;
  uint64_t hard = 0;
};

// Sets of bits as in capabilities(7).
struct SpecCapabilities {
  uint64_t bounding = 0;
  uint64_t effective = 0;
  uint64_t permitted = 0;
  uint64_t inheritable = 0;
  uint64_t ambient = 0;
};

struct SpecScheduler {
  uint32_t policy = 0;  // SCHED_
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t flags = 0;
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
};

// Bit N of the whole is processor N, as sched_setaffinity(2) takes it; empty: not said.
using CpuSet = std::vector<uint64_t>;

struct SpecProcess {
  bool terminal = false;
  std::optional<std::pair<uint16_t, uint16_t>> console_size;  // rows, columns
  SpecUser user;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd = "/";
  std::vector<SpecLimit> limits;
  SpecCapabilities capabilities;
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::optional<SpecScheduler> scheduler;
  std::optional<int> io_priority;  // as ioprio_set(2) takes it
  // Of one that is executed in a running container: before it is in the control groups, and after.
  CpuSet first_affinity, final_affinity;
  std::string apparmor_profile;
  std::string selinux_label;
};

struct SpecMount {
  std::string destination;  // absolute
  std::string type;         // empty with options.bind
  std::string source;
  MountOptions options;
  std::vector<IdRange> uids, gids;
};

struct SpecHook {
  std::string path;  // absolute
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::optional<uint32_t> timeout;  // seconds
};

struct SpecHooks {
  std::vector<SpecHook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};

struct SpecNamespace {
  int flag = 0;      // CLONE_NEW*
  std::string path;  // empty: a new one
};

struct SpecDevice {
  char type = 'c';   // c, b or p
  std::string path;  // absolute
  uint32_t major = 0;
  uint32_t minor = 0;
  uint32_t mode = 0666;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct SpecTimeOffset {
  std::string clock;  // "monotonic" or "boottime"
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
};

struct Spec {
  std::string version;
  std::string root;  // as written: relative to the bundle, or absolute
  bool root_read_only = false;
  std::optional<SpecProcess> process;  // absent: the container can be created and never be started
  std::string hostname;
  std::string domainname;
  std::vector<SpecMount> mounts;
  SpecHooks hooks;
  std::map<std::string, std::string> annotations;

  std::vector<SpecNamespace> namespaces;
  std::vector<IdRange> uids, gids;
  std::vector<SpecTimeOffset> time_offsets;
  std::vector<SpecDevice> devices;
  std::string cgroups_path;
  SpecResources resources;
  uint64_t root_propagation = 0;  // MS_ bits; 0 when it is not said
  bool root_propagation_all = false;
  std::optional<SpecSeccomp> seccomp;
  std::map<std::string, std::string> sysctl;
  std::vector<std::string> masked_paths;
  std::vector<std::string> read_only_paths;
  std::string mount_label;
  std::optional<uint32_t> personality;

  const SpecNamespace* Namespace(int flag) const;  // null when the container shares the runtime's
  bool NewNamespace(int flag) const;               // whether it has one of its own making

  // `what` names the document in errors.
  static Spec Parse(std::string_view text, std::string_view what);
};

// One process, as `exec --process` takes it, and as it is within config.json.
SpecProcess ParseSpecProcess(const json::Cursor& at);

// "CAP_NET_ADMIN" or "net_admin" in any case; nullopt for what is none.
std::optional<int> ParseCapability(std::string_view name);
// "nofile" or "RLIMIT_NOFILE" in any case.
std::optional<int> ParseLimitName(std::string_view name);
std::string LimitName(int resource);         // "RLIMIT_NOFILE", or the number that has no name
std::string CapabilityName(int capability);  // "CAP_NET_ADMIN"; empty for a number without a name

// Parts of Spec::Parse that are files of their own.
void ParseSpecLinux(const json::Cursor& at, Spec& out);
std::vector<SpecMount> ParseSpecMounts(const json::Cursor& at);
std::vector<IdRange> ParseSpecIdRanges(const json::Cursor& at);
// Absolute, without NUL; cleaned of "." and "..".
std::string ParseSpecPath(const json::Cursor& at);

}  // namespace gantry::runner
