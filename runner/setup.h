// The child's side of a start: from clone to the execution of init, inside the new namespaces.
//
// Everything is planned before the clone; here is a fixed list of steps, each of which succeeds or ends the child with
// a Report. No allocation, no exceptions, no library of ours. Mounts are made detached by the new mount interface and
// moved onto descriptors that were resolved inside the root, so that no link in the image and no other process can
// redirect one (CVE-2021-30465, CVE-2024-45310, CVE-2025-31133, CVE-2025-52565, CVE-2026-41579).
#pragma once

#include <cstddef>
#include <cstdint>

#include "runner/hook_process.h"

namespace gantry::runner {

struct EtcFile {
  const char* name;  // in /etc
  const char* text;
  size_t size;
};

struct VolumePlan {
  const char* source;  // null: a tmpfs with `data`
  const char* target;  // absolute
  bool recursive = true;
  bool read_only = false;
  bool executable = true;
  const char* const* data = nullptr;  // "key=value", null-terminated
  int tree = -1;                      // what is at `source`, if the parent has opened it
};

// A file of a tmpfs at /run/secrets.
struct SecretPlan {
  const char* name;
  const char* text;
  size_t size;
  uint32_t uid;
  uint32_t gid;
  uint32_t mode;
};

struct CgroupMountPlan {
  const char* name;                 // below /sys/fs/cgroup; empty for v2 alone
  const char* options;              // empty for v2
  const char* host_path = nullptr;  // without a cgroup namespace: the group itself is shown
};

// A mount of a bundle. Attributes are MOUNT_ATTR_ bits, propagations MS_ bits.
struct MountPlan {
  const char* target;       // absolute, in the container
  const char* type;         // empty: what is at `source` is shown
  const char* source;       // absolute, in the host, for those
  const char* const* data;  // "key=value" or "key", null-terminated
  int tree = -1;            // made detached by the parent: to be attached only
  bool recursive = false;
  bool remount = false;  // only the attributes of what is mounted at `target`
  bool copy_up = false;
  bool source_nofollow = false;
  bool target_nofollow = false;
  uint64_t set = 0;
  uint64_t clear = 0;
  uint64_t set_all = 0;
  uint64_t clear_all = 0;
  uint64_t propagation = 0;
  bool propagation_all = false;
};

struct NodePlan {
  const char* path;  // absolute, in the container; the same in the host when it has to be shown from there
  unsigned mode;     // with the bits of the type
  uint64_t device;
  uint32_t uid;
  uint32_t gid;
};

struct SysctlPlan {
  const char* path;  // below /proc/sys
  const char* value;
};

// What a bundle of the runtime specification asks for, instead of gantry-run's own root and kernel file systems.
struct BundlePlan {
  const char* root = nullptr;  // absolute directory
  int root_tree = -1;          // made detached by the parent
  const MountPlan* mounts = nullptr;
  size_t mount_count = 0;
  const NodePlan* nodes = nullptr;
  size_t node_count = 0;
  bool fill_dev = false;                // with the nodes and the usual links
  const char* const* masked = nullptr;  // absolute
  size_t masked_count = 0;
  const char* const* read_only = nullptr;
  size_t read_only_count = 0;
  const SysctlPlan* sysctls = nullptr;
  size_t sysctl_count = 0;
  const HookPlan* hooks = nullptr;  // createContainer
  size_t hook_count = 0;
  bool await_hooks = false;  // says kMounted, and waits for the state
  bool pivot = true;
  uint64_t propagation = 0;            // of the root, MS_ bits; unless shared, it is rslave while it is set up
  const char* time_offsets = nullptr;  // for /proc/self/timens_offsets, of a new time namespace
  const char* domainname = nullptr;
  bool personality = false;
  uint32_t persona = 0;
};

// Borrowed pointers into the parent's memory, of which the child has a copy, or which it shares until it executes init
// (launch.h).
struct SetupPlan {
  int control = -1;  // becomes kControlFd
  int init = -1;     // executable; above kControlFd, as the tasks are
  bool user_namespace = false;
  bool inner_root = false;  // a user namespace was joined: become its root
  bool root_comes = false;  // the overlay is made outside, and comes over `control` (mapped_root.h)
  bool single_id = false;
  bool host_network = false;
  int network = -1;  // one of the container's own that is there already, with its loopback device; above kControlFd
  bool network_made = false;  // instead, the process begins in it
  bool metadata = false;      // the runner gets a socket that listens in the container's network
  bool terminal = false;
  bool interactive = false;
  int output = -1;  // becomes 1 and 2, and 0 is empty; above kControlFd, as the tasks are
  bool read_only_rootfs = false;
  bool user_xattrs = false;
  const char* const* layers = nullptr;  // absolute directories, the topmost first
  size_t layer_count = 0;
  const char* upper = nullptr;
  const char* work = nullptr;
  const char* mount_point = nullptr;
  const EtcFile* etc = nullptr;  // one without a name is left out
  size_t etc_count = 0;
  bool await_network = false;  // what is at `etc`, in shared memory, is written by the parent, who then sends a byte
  VolumePlan* volumes = nullptr;
  size_t volume_count = 0;
  const SecretPlan* secrets = nullptr;
  size_t secret_count = 0;
  const NodePlan* nodes = nullptr;  // beside those that every /dev has
  size_t node_count = 0;
  const int* tasks = nullptr;
  size_t task_count = 0;
  // Instead, files that are there once a byte comes over `control`: of groups that are made while a bundle's mounts
  // are. The child opens them, so that its mounts until then are to be the host's, and its user namespace ours.
  int late_top = -1;  // where they are looked up; above kControlFd
  const char* const* late_tasks = nullptr;
  size_t late_task_count = 0;
  bool joined_cgroup = false;  // by any means: a cgroup namespace is worth having
  bool new_keyring = true;
  const char* keyring = nullptr;  // its name; null: none
  bool labels = false;            // init writes security labels: it needs a /proc of its own, at kProcFd
  bool no_new_privs = true;
  const BundlePlan* bundle = nullptr;
  bool entered = false;  // the namespaces are a running container's: nothing is set up
  int answers = -1;      // of one that is entered: its pid namespace is left to init, which says here whom it has made
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
