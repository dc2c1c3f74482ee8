// The child's side of a start: from clone to the execution of init, inside the new namespaces.
//
// Everything is planned before the clone; here is a fixed list of steps, each of which succeeds or ends the child with
// a Report. No allocation, no exceptions, no library of ours. Mounts are made detached by the new mount interface and
// moved onto descriptors that were resolved inside the root, so that no link in the image and no other process can
// redirect one (CVE-2021-30465, CVE-2024-45310, CVE-2025-31133, CVE-2025-52565, CVE-2026-41579).
#pragma once

#include <cstddef>
#include <cstdint>

namespace gantry::runner {

struct EtcFile {
  const char* name;  // in /etc
  const char* text;
  size_t size;
};

struct VolumePlan {
  const char* source;
  const char* target;  // absolute
  bool directory;
  bool read_only;
};

struct CgroupMountPlan {
  const char* name;     // below /sys/fs/cgroup; empty for v2 alone
  const char* options;  // empty for v2
};

// Borrowed pointers into the parent's memory, of which the child has a copy.
struct SetupPlan {
  int control = -1;  // becomes kControlFd
  int init = -1;     // executable; above kControlFd, as the tasks are
  bool user_namespace = false;
  bool single_id = false;
  bool host_network = false;
  bool terminal = false;
  bool interactive = false;
  bool read_only_rootfs = false;
  bool user_xattrs = false;
  const char* const* layers = nullptr;  // absolute directories, the topmost first
  size_t layer_count = 0;
  const char* upper = nullptr;
  const char* work = nullptr;
  const char* mount_point = nullptr;
  const EtcFile* etc = nullptr;
  size_t etc_count = 0;
  const VolumePlan* volumes = nullptr;
  size_t volume_count = 0;
  const int* tasks = nullptr;
  size_t task_count = 0;
  bool joined_cgroup = false;  // by any means: a cgroup namespace is worth having
  const CgroupMountPlan* cgroups = nullptr;
  size_t cgroup_count = 0;
  const char* hostname = nullptr;
  const char* working_dir = nullptr;
  uint64_t capabilities = 0;
};

constexpr size_t kMaxOverlayLayers = 500;  // the kernel's OVL_MAX_STACK

// Paths of the root that the container cannot look into, and that it cannot write to. For tests and messages.
extern const char* const kMaskedPaths[];
extern const size_t kMaskedPathCount;
extern const char* const kReadOnlyPaths[];
extern const size_t kReadOnlyPathCount;

// Never returns: executes init, or exits with 125 after a Report.
[[noreturn]] void RunSetup(const SetupPlan& plan);

}  // namespace gantry::runner
