// What the runner, the child that sets up the container, and the container's init say to each other, over one
// SOCK_SEQPACKET pair. Plain structures: two of the three must not allocate, and init is freestanding of our libraries.
//
//   runner -> child   Go (only with a user namespace, after its maps are written)
//   runner -> child   a descriptor for each control group of v1 that it joins (only of a bundle, in a message each)
//   child  -> runner  Report kRoot with the root's descriptor, kConsole with the terminal's master, kListener
//                      with a socket for the metadata service, or kFailed
//   child  -> runner  kMounted (only with hooks of a bundle); the runner runs its own, then
//   runner -> child   the container's state for the child's hooks, as a memfd
//   child becomes init by execveat; the socket stays descriptor kControlFd
//   init   -> runner  Answer over kAnswersFd, of a process that enters a running container: what follows is said by the
//                      process that it names
//   runner -> init    InitParams and what it points at, in a sealed memfd; then the descriptors that it names
//   init   -> runner  kReady; then kFailed from the application's process, or end of file when it was executed
//
// A container of gantry-oci that is only created: after the parameters init closes the socket and waits at a listening
// one that was among the descriptors. `start` connects to it, and is the runner of the last line.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gantry::runner {

constexpr int kControlFd = 3;
constexpr int kProcFd = 4;  // a /proc of init's own, when there are labels to write
// Of a process that enters a running container, which has no kProcFd.
constexpr int kAnswersFd = 5;
constexpr int kFirstTaskFd = 6;  // and those after it: control groups to be joined
constexpr size_t kMaxTasks = 64;

// Everything that can fail between clone and the application's first instruction, in order. report.cc has the words.
enum class Step : uint32_t {
  kNetworkNamespace,
  kIdMap,
  kBecomeRoot,
  kSession,
  kJoinCgroup,
  kCgroupNamespace,
  kTimeNamespace,
  kPrivateMounts,
  kBundleRoot,
  kOpenLayer,  // index: which layer, from the top
  kOverlay,
  kAttachRoot,
  kEtc,  // index: which file
  kProc,
  kSys,
  kCgroupMount,  // index: which hierarchy
  kDev,
  kDevPts,
  kDevShm,
  kDevMqueue,
  kConsole,
  kMask,          // index: which path
  kReadOnly,      // index: which path
  kVolumeSource,  // index: which volume
  kVolumeTarget,
  kVolumeMount,
  kSecret,       // index: which
  kMountSource,  // index: which mount of the bundle
  kMountTarget,
  kMount,
  kCopyUp,
  kNode,  // index: which
  kHook,  // index: which of those that run at that time; detail: what it printed
  kHookCode,
  kHandler,      // index: which
  kHandlerCode,  // error: its exit code
  kSysctl,       // index: which
  kWorkingDir,
  kReadOnlyRoot,
  kLoopback,
  kHostname,
  kDomainname,
  kPersonality,
  kPivot,
  kStandardInput,
  kCapabilities,
  kNoNewPrivs,
  kStartInit,
  kReceive,
  kFilter,
  kListener,
  kLimit,  // index: which
  kScheduler,
  kIoPriority,
  kAffinity,
  kLabel,
  kPreserve,
  kFork,
  kTerminal,
  kChangeDir,
  kGroups,
  kUser,
  kExecute,
};

struct Report {
  enum Kind : uint32_t { kRoot, kConsole, kListener, kMounted, kReady, kFailed };
  uint32_t kind = kFailed;
  Step step = Step::kIdMap;
  int32_t error = 0;  // errno
  uint32_t index = 0;
  char detail[192] = {};  // what the kernel or the program said, NUL-terminated; hostile
};

// The process that was made in namespaces, or why there is none.
struct Answer {
  int32_t error = 0;  // errno
  int32_t flag = 0;   // of the namespace that could not be entered; 0: the new ones could not be made
  int32_t pid = -1;
};

// At most this many descriptors go to init beside its parameters.
constexpr size_t kMaxPassed = 200;

// Offsets are those of InitParams.
struct PackedHook {
  uint64_t path = 0;
  uint64_t arguments = 0;
  uint64_t argument_count = 0;
  uint64_t environment = 0;
  uint64_t environment_count = 0;
  int64_t timeout = -1;  // milliseconds
};

struct PackedLimit {
  int64_t resource = 0;
  uint64_t soft = 0;
  uint64_t hard = 0;
};

// A command in the container of the application.
struct PackedHandler {
  uint64_t arguments = 0;
  uint64_t argument_count = 0;
  uint64_t candidates = 0;
  uint64_t candidate_count = 0;
};

// As sched_setattr(2) takes it.
struct PackedScheduler {
  uint32_t size = sizeof(PackedScheduler);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
};

// At offset 0 of the memfd; offsets count from there, and every text ends with NUL.
struct InitParams {
  static constexpr uint32_t kMagic = 0x67616e32;
  uint32_t magic = kMagic;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t terminal = 0;     // 1: descriptor 0 becomes the controlling terminal
  uint32_t keep_groups = 0;  // 1: setgroups is denied in this user namespace
  uint32_t umask = 022;
  uint32_t no_new_privs = 0;  // 1: set. For a direct process the filter then comes last, else before capabilities go
  uint64_t bounding = 0;      // sets of capabilities of the application
  uint64_t permitted = 0;
  uint64_t effective = 0;
  uint64_t inheritable = 0;
  uint64_t ambient = 0;
  uint64_t working_dir = 0;  // offset of a text
  uint64_t groups = 0;       // offset of uint32_t
  uint64_t group_count = 0;
  uint64_t filter = 0;  // offset of sock_filter
  uint64_t filter_count = 0;
  uint64_t arguments = 0;  // offset of texts, one after the other
  uint64_t argument_count = 0;
  uint64_t environment = 0;
  uint64_t environment_count = 0;
  uint64_t candidates = 0;  // file names to try to execute, in order
  uint64_t candidate_count = 0;
  uint64_t limits = 0;  // offset of PackedLimit
  uint64_t limit_count = 0;
  uint64_t apparmor = 0;  // offset of what to write to attr/apparmor/exec, or 0
  uint64_t selinux = 0;   // offset of what to write to attr/exec, or 0

  // Descriptors that come with the parameters: as `waits` and `notifies` say, then those that the application has from
  // 3 on.
  uint32_t passed = 0;

  // What follows is for an application that init supervises: PackedHandler, as root of the container with `bounding`.
  uint64_t pre_start = 0;
  uint64_t pre_start_count = 0;
  uint64_t post_stop = 0;
  uint64_t post_stop_count = 0;

  // What follows is for the process of a bundle alone, which init itself becomes.
  uint32_t direct = 0;  // 1: there is nobody to supervise
  uint32_t filter_flags = 0;
  uint32_t waits = 0;         // 1: the first is the listening socket
  uint32_t notifies = 0;      // 1: the next is connected to the seccomp agent
  uint32_t owns_streams = 0;  // 1: descriptors 0 to 2 are given to the user
  int32_t io_priority = -1;
  uint64_t notice = 0;  // offset: what the seccomp agent is told
  uint64_t notice_size = 0;
  uint64_t state = 0;  // offset: what the hooks are told
  uint64_t state_size = 0;
  uint64_t hooks = 0;  // offset of PackedHook
  uint64_t hook_count = 0;
  uint64_t scheduler = 0;  // offset of PackedScheduler, or 0
  uint64_t affinity = 0;   // offset: the processors, as sched_setaffinity(2) takes them
  uint64_t affinity_size = 0;
};

}  // namespace gantry::runner
