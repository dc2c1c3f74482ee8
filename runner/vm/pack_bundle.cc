#include "runner/vm/pack_bundle.h"

#include <span>

#include "libimage/base/error.h"
#include "runner/cgroup_writes.h"
#include "runner/device_filter.h"
#include "runner/packer.h"
#include "runner/vm/job_bundle.h"

namespace gantry::runner::vm {
namespace {

void RequireAtMost(size_t most, size_t count, const char* what) {
  if (count > most)
    throw Error(
        ErrorKind::kUnsupported,
        "a virtual machine takes at most " + std::to_string(most) + " " + what + ", not " + std::to_string(count),
        "run the bundle without the annotation dev.gantry.isolation");
}

std::vector<std::string> Texts(const char* const* texts, size_t count) { return {texts, texts + count}; }

void PackMounts(const BundleJob& job, Packer& packer, PackedJobBundle& out) {
  const std::span plans(job.plan.bundle->mounts, job.plan.bundle->mount_count);
  RequireAtMost(kMaxBundleMounts, plans.size(), "mounts");
  std::vector<PackedJobMount> mounts;
  size_t options = 0;
  for (size_t i = 0; i < plans.size(); ++i) {
    const MountPlan& plan = plans[i];
    size_t count = 0;
    while (plan.data[count] != nullptr) ++count;
    RequireAtMost(kMaxBundleOptions, options += count + 1, "options of mounts");
    mounts.push_back(
        {.target = packer.Add({plan.target}),
         .type = packer.Add({plan.type}),
         .source = packer.Add({job.shown[i] == 0 ? plan.source : ""}),
         .options = packer.Add(Texts(plan.data, count)),
         .option_count = count,
         .set = plan.set,
         .clear = plan.clear,
         .set_all = plan.set_all,
         .clear_all = plan.clear_all,
         .volume = job.shown[i] == 0 ? PackedJobMount::kNewFileSystem : static_cast<uint32_t>(job.shown[i]),
         .copy_up = static_cast<uint16_t>(plan.copy_up),
         .target_nofollow = static_cast<uint16_t>(plan.target_nofollow)});
  }
  out.mounts = packer.Add(mounts.data(), mounts.size() * sizeof(PackedJobMount));
  out.mount_count = mounts.size();
}

void PackNodes(const BundlePlan& plan, Packer& packer, PackedJobBundle& out) {
  RequireAtMost(kMaxBundleNodes, plan.node_count, "device nodes");
  std::vector<PackedJobNode> nodes;
  for (const NodePlan& node : std::span(plan.nodes, plan.node_count))
    nodes.push_back(
        {.path = packer.Add({node.path}), .device = node.device, .mode = node.mode, .uid = node.uid, .gid = node.gid});
  out.nodes = packer.Add(nodes.data(), nodes.size() * sizeof(PackedJobNode));
  out.node_count = nodes.size();
}

void PackPaths(const BundlePlan& plan, Packer& packer, PackedJobBundle& out) {
  RequireAtMost(kMaxBundlePaths, plan.masked_count, "masked paths");
  RequireAtMost(kMaxBundlePaths, plan.read_only_count, "read-only paths");
  RequireAtMost(kMaxBundleSysctls, plan.sysctl_count, "sysctls");
  out.masked = packer.Add(Texts(plan.masked, plan.masked_count));
  out.masked_count = plan.masked_count;
  out.read_only = packer.Add(Texts(plan.read_only, plan.read_only_count));
  out.read_only_count = plan.read_only_count;
  std::vector<std::string> sysctls;
  for (const SysctlPlan& sysctl : std::span(plan.sysctls, plan.sysctl_count)) {
    sysctls.emplace_back(sysctl.path);
    sysctls.emplace_back(sysctl.value);
  }
  out.sysctls = packer.Add(sysctls);
  out.sysctl_count = plan.sysctl_count;
}

uint64_t PackBundle(const BundleJob& job, Packer& packer) {
  const BundlePlan& plan = *job.plan.bundle;
  PackedJobBundle out;
  PackMounts(job, packer, out);
  PackNodes(plan, packer, out);
  PackPaths(plan, packer, out);
  out.domainname = packer.Add({plan.domainname != nullptr ? plan.domainname : ""});
  const auto filter = CompileDeviceFilter(WithStandardDevices(job.spec.resources.devices));
  RequireAtMost(kMaxDeviceFilter, filter.size(), "instructions of device rules");
  out.device_filter = packer.Add(filter.data(), filter.size() * sizeof filter[0]);
  out.device_filter_count = filter.size();
  out.fill_dev = plan.fill_dev ? 1 : 0;
  out.personality = plan.personality ? 1 : 0;
  out.persona = plan.persona;
  return packer.Add(&out, sizeof out);
}

}  // namespace

std::string PackBundleJob(const BundleJob& job) {
  JobHead head;
  Packer packer(sizeof head);
  head.terminal = job.plan.terminal ? 1 : 0;
  head.interactive = 1;
  head.read_only_rootfs = job.plan.read_only_rootfs ? 1 : 0;
  head.capabilities = job.plan.capabilities;
  const int64_t pids = job.spec.resources.pids.value_or(0);
  head.pids = pids > 0 ? static_cast<uint64_t>(pids) : 0;
  head.root_type = packer.Add({"virtiofs"});
  head.hostname = packer.Add({job.plan.hostname != nullptr ? job.plan.hostname : ""});
  head.working_dir = packer.Add({job.plan.working_dir});
  PackVolumes(job.volumes, job.places, packer, head);
  PackDevices(job.devices, packer, head);
  head.bundle = PackBundle(job, packer);
  return packer.Finish(head);
}

}  // namespace gantry::runner::vm
