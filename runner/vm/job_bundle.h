// What a job says of a bundle of the runtime specification: the part of its BundlePlan (setup.h) that holds in a
// machine.
//
// The volumes of the job are what the host shows: the first is the root, the others are sources of mounts. Only the
// one application of a machine can be a bundle's.
// Freestanding, as frame.h.
#pragma once

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runner/setup.h"
#include "runner/vm/job.h"

namespace gantry::runner::vm {

constexpr size_t kMaxBundleMounts = 128;
constexpr size_t kMaxBundleOptions = 1024;  // of all mounts, with the end of each list
constexpr size_t kMaxBundleNodes = 64;
constexpr size_t kMaxBundlePaths = 256;  // masked; read-only
constexpr size_t kMaxBundleSysctls = 128;
constexpr size_t kMaxDeviceFilter = 4096;  // instructions

// `volume` says what is shown; kNewFileSystem: nothing of the host.
struct PackedJobMount {
  static constexpr uint32_t kNewFileSystem = ~0U;
  uint64_t target = 0;
  uint64_t type = 0;
  uint64_t source = 0;
  uint64_t options = 0;  // offset of texts
  uint64_t option_count = 0;
  uint64_t set = 0;
  uint64_t clear = 0;
  uint64_t set_all = 0;
  uint64_t clear_all = 0;
  uint32_t volume = kNewFileSystem;
  uint16_t copy_up = 0;
  uint16_t target_nofollow = 0;
};

struct PackedJobNode {
  uint64_t path = 0;
  uint64_t device = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t reserved = 0;
};

struct PackedJobBundle {
  uint64_t mounts = 0;  // offset of PackedJobMount
  uint64_t mount_count = 0;
  uint64_t nodes = 0;  // offset of PackedJobNode
  uint64_t node_count = 0;
  uint64_t masked = 0;  // offset of texts
  uint64_t masked_count = 0;
  uint64_t read_only = 0;  // offset of texts
  uint64_t read_only_count = 0;
  uint64_t sysctls = 0;  // offset of texts: a path and a value by turns
  uint64_t sysctl_count = 0;
  uint64_t domainname = 0;     // offset of a text; empty: none
  uint64_t device_filter = 0;  // offset of bpf_insn
  uint64_t device_filter_count = 0;
  uint32_t fill_dev = 0;
  uint32_t personality = 0;
  uint32_t persona = 0;
  uint32_t reserved = 0;
};

// One that was read; everything points into its job's bytes or into this. Large: not for the stack.
struct JobBundle {
  BundlePlan plan;
  uint32_t volumes[kMaxBundleMounts];  // of each mount
  const char* device_filter;
  size_t device_filter_count;

  MountPlan mounts[kMaxBundleMounts];
  const char* options[kMaxBundleOptions];
  NodePlan nodes[kMaxBundleNodes];
  const char* masked[kMaxBundlePaths];
  const char* read_only[kMaxBundlePaths];
  SysctlPlan sysctls[kMaxBundleSysctls];
};

class JobBundleReader {
 public:
  // Over the bytes of `job`, which were read.
  JobBundleReader(const char* bytes, size_t size, const Job& job) : reader_(bytes, size), bytes_(bytes), job_(job) {}

  // False for anything but a bundle within its bounds.
  bool Read(JobBundle& out) const {
    PackedJobBundle head;
    if (job_.head.apps != 1 || job_.head.volume_count == 0 || job_.volumes[0].directory == 0 ||
        job_.volumes[0].memory != 0 || job_.head.keeps_changes != 0 || !Load(job_.head.bundle, 0, head))
      return false;
    out.plan = BundlePlan();
    out.plan.fill_dev = head.fill_dev != 0;
    out.plan.personality = head.personality != 0;
    out.plan.persona = head.persona;
    const char* domainname = reader_.Text(head.domainname);
    if (domainname == nullptr)
      return false;
    out.plan.domainname = *domainname != '\0' ? domainname : nullptr;
    return ReadMounts(head, out) && ReadNodes(head, out) && ReadPaths(head, out) && ReadSysctls(head, out) &&
           ReadFilter(head, out);
  }

 private:
  // The `index`-th T of those at `offset`.
  template <typename T>
  bool Load(uint64_t offset, uint64_t index, T& out) const {
    if (!reader_.Has(offset, (index + 1) * sizeof out))
      return false;
    memcpy(&out, bytes_ + offset + index * sizeof out, sizeof out);
    return true;
  }

  bool Texts(uint64_t offset, uint64_t count, const char** out) const {
    for (uint64_t i = 0; i < count; ++i) {
      out[i] = reader_.Text(offset);
      if (out[i] == nullptr)
        return false;
      offset += strlen(out[i]) + 1;
    }
    return true;
  }

  bool ReadMounts(const PackedJobBundle& head, JobBundle& out) const {
    if (head.mount_count > kMaxBundleMounts)
      return false;
    size_t used = 0;
    for (uint64_t i = 0; i < head.mount_count; ++i) {
      PackedJobMount packed;
      if (!Load(head.mounts, i, packed) || packed.option_count >= kMaxBundleOptions - used)
        return false;
      MountPlan& mount = out.mounts[i] = MountPlan();
      mount.target = reader_.Text(packed.target);
      mount.type = reader_.Text(packed.type);
      mount.source = reader_.Text(packed.source);
      mount.data = out.options + used;
      const bool shown = packed.volume != PackedJobMount::kNewFileSystem;
      if (mount.target == nullptr || mount.target[0] != '/' || mount.type == nullptr || mount.source == nullptr ||
          shown != (mount.type[0] == '\0') || (shown && packed.volume >= job_.head.volume_count) ||
          (shown && job_.volumes[packed.volume].memory != 0) ||
          !Texts(packed.options, packed.option_count, out.options + used))
        return false;
      used += packed.option_count;
      out.options[used++] = nullptr;
      mount.recursive = true;
      mount.copy_up = packed.copy_up != 0;
      mount.target_nofollow = packed.target_nofollow != 0;
      mount.set = packed.set;
      mount.clear = packed.clear;
      mount.set_all = packed.set_all;
      mount.clear_all = packed.clear_all;
      out.volumes[i] = packed.volume;
    }
    out.plan.mounts = out.mounts;
    out.plan.mount_count = head.mount_count;
    return true;
  }

  bool ReadNodes(const PackedJobBundle& head, JobBundle& out) const {
    if (head.node_count > kMaxBundleNodes)
      return false;
    for (uint64_t i = 0; i < head.node_count; ++i) {
      PackedJobNode packed;
      if (!Load(head.nodes, i, packed))
        return false;
      out.nodes[i] = {reader_.Text(packed.path), packed.mode, packed.device, packed.uid, packed.gid};
      if (out.nodes[i].path == nullptr || out.nodes[i].path[0] != '/')
        return false;
    }
    out.plan.nodes = out.nodes;
    out.plan.node_count = head.node_count;
    return true;
  }

  bool ReadPaths(const PackedJobBundle& head, JobBundle& out) const {
    if (head.masked_count > kMaxBundlePaths || head.read_only_count > kMaxBundlePaths ||
        !Texts(head.masked, head.masked_count, out.masked) ||
        !Texts(head.read_only, head.read_only_count, out.read_only))
      return false;
    out.plan.masked = out.masked;
    out.plan.masked_count = head.masked_count;
    out.plan.read_only = out.read_only;
    out.plan.read_only_count = head.read_only_count;
    return true;
  }

  bool ReadSysctls(const PackedJobBundle& head, JobBundle& out) const {
    if (head.sysctl_count > kMaxBundleSysctls)
      return false;
    uint64_t offset = head.sysctls;
    for (uint64_t i = 0; i < head.sysctl_count; ++i) {
      const char* texts[2];
      if (!Texts(offset, 2, texts))
        return false;
      out.sysctls[i] = {texts[0], texts[1]};
      offset += strlen(texts[0]) + strlen(texts[1]) + 2;
    }
    out.plan.sysctls = out.sysctls;
    out.plan.sysctl_count = head.sysctl_count;
    return true;
  }

  bool ReadFilter(const PackedJobBundle& head, JobBundle& out) const {
    if (head.device_filter_count > kMaxDeviceFilter ||
        !reader_.Has(head.device_filter, head.device_filter_count * sizeof(bpf_insn)))
      return false;
    out.device_filter = bytes_ + head.device_filter;
    out.device_filter_count = head.device_filter_count;
    return true;
  }

  JobReader reader_;
  const char* bytes_;
  const Job& job_;
};

}  // namespace gantry::runner::vm
