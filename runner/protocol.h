// What the runner, the child that sets up the container, and the container's init say to each other, over one
// SOCK_SEQPACKET pair. Plain structures: two of the three must not allocate, and init is freestanding of our libraries.
//
//   runner -> child   Go (only with a user namespace, after its maps are written)
//   child  -> runner  Report kRoot with the root's descriptor, kConsole with the terminal's master, or kFailed
//   child becomes init by execveat; the socket stays descriptor kControlFd
//   runner -> init    InitParams and what it points at, in a sealed memfd
//   init   -> runner  kReady; then kFailed from the application's process, or end of file when it was executed
#pragma once

#include <cstddef>
#include <cstdint>

namespace gantry::runner {

constexpr int kControlFd = 3;

// Everything that can fail between clone and the application's first instruction, in order. report.cc has the words.
enum class Step : uint32_t {
  kIdMap,
  kBecomeRoot,
  kSession,
  kJoinCgroup,
  kCgroupNamespace,
  kPrivateMounts,
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
  kWorkingDir,
  kReadOnlyRoot,
  kLoopback,
  kHostname,
  kPivot,
  kStandardInput,
  kCapabilities,
  kNoNewPrivs,
  kStartInit,
  kReceive,
  kFilter,
  kFork,
  kTerminal,
  kChangeDir,
  kGroups,
  kUser,
  kExecute,
};

struct Report {
  enum Kind : uint32_t { kRoot, kConsole, kReady, kFailed };
  uint32_t kind = kFailed;
  Step step = Step::kIdMap;
  int32_t error = 0;  // errno
  uint32_t index = 0;
  char detail[192] = {};  // what the kernel or the program said, NUL-terminated; hostile
};

// At offset 0 of the memfd; offsets count from there, and every text ends with NUL.
struct InitParams {
  static constexpr uint32_t kMagic = 0x67616e31;
  uint32_t magic = kMagic;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t terminal = 0;     // 1: descriptor 0 becomes the controlling terminal
  uint32_t keep_groups = 0;  // 1: setgroups is denied in this user namespace
  uint32_t reserved = 0;
  uint64_t capabilities = 0;  // of an application that is uid 0, and everyone's bounding set
  uint64_t working_dir = 0;   // offset of a text
  uint64_t groups = 0;        // offset of uint32_t
  uint64_t group_count = 0;
  uint64_t filter = 0;  // offset of sock_filter
  uint64_t filter_count = 0;
  uint64_t arguments = 0;  // offset of texts, one after the other
  uint64_t argument_count = 0;
  uint64_t environment = 0;
  uint64_t environment_count = 0;
  uint64_t candidates = 0;  // file names to try to execute, in order
  uint64_t candidate_count = 0;
};

}  // namespace gantry::runner
