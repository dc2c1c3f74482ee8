#include "runner/cgroup_writes.h"

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr uint64_t kDefaultPeriod = 100'000;

std::string LimitText(int64_t limit) { return limit < 0 ? "max" : std::to_string(limit); }

std::string DeviceText(const DeviceValue& device) {
  return std::to_string(device.major) + ":" + std::to_string(device.minor);
}

class Writes {
 public:
  template <typename Number>
  void Add(const char* controller, const char* file, const std::optional<Number>& value) {
    if (value)
      Add(controller, file, std::to_string(*value));
  }
  void Add(const char* controller, std::string file, std::string value, bool if_there = false) {
    out_.push_back({controller, std::move(file), std::move(value), if_there, {}, {}});
  }
  void AddOr(const char* controller, std::string file, std::string value, std::string other, std::string other_value) {
    out_.push_back({controller, std::move(file), std::move(value), false, std::move(other), std::move(other_value)});
  }
  std::vector<ControlWrite> Finish() { return std::move(out_); }

 private:
  std::vector<ControlWrite> out_;
};

// What was once, on v1.
void RefuseWhatIsGone(const SpecMemory& memory) {
  if (!memory.use_hierarchy.value_or(true))
    throw Error(ErrorKind::kUnsupported,
                "memory is counted in hierarchies: Linux gave up the other way in version 5.11",
                "leave linux.resources.memory.useHierarchy out");
  if (memory.kernel.value_or(0) > 0)
    throw Error(ErrorKind::kUnsupported, "no limit of kernel memory alone can be set: Linux gave it up in version 5.16",
                "leave linux.resources.memory.kernel out: memory.limit counts it");
}

// 0 is what engines write for "as it is".
void AddMemoryV1(const SpecMemory& memory, Writes& out) {
  RefuseWhatIsGone(memory);
  const auto set = [](const std::optional<int64_t>& value) { return value.value_or(0) != 0; };
  if (set(memory.limit))
    out.Add("memory", "memory.limit_in_bytes", memory.limit);
  // A group without a limit needs no file that a kernel without swap accounting lacks.
  if (set(memory.swap))
    out.Add("memory", "memory.memsw.limit_in_bytes", std::to_string(*memory.swap), *memory.swap <= 0);
  if (set(memory.reservation))
    out.Add("memory", "memory.soft_limit_in_bytes", memory.reservation);
  if (set(memory.kernel_tcp))
    out.Add("memory", "memory.kmem.tcp.limit_in_bytes", std::to_string(*memory.kernel_tcp), *memory.kernel_tcp < 0);
  out.Add("memory", "memory.swappiness", memory.swappiness);
  if (memory.disable_oom_killer.value_or(false))
    out.Add("memory", "memory.oom_control", "1");
  if (memory.use_hierarchy)
    out.Add("memory", "memory.use_hierarchy", "1", true);
}

// What both versions call and take alike.
void AddIdleAndSets(const SpecCpu& cpu, Writes& out) {
  if (cpu.idle)
    out.Add("cpu", "cpu.idle", std::to_string(*cpu.idle), *cpu.idle == 0);
  if (!cpu.cpus.empty())
    out.Add("cpuset", "cpuset.cpus", cpu.cpus);
  if (!cpu.mems.empty())
    out.Add("cpuset", "cpuset.mems", cpu.mems);
}

void AddCpuV1(const SpecCpu& cpu, Writes& out) {
  if (cpu.shares.value_or(0) != 0)
    out.Add("cpu", "cpu.shares", cpu.shares);
  if (cpu.period.value_or(0) != 0)
    out.Add("cpu", "cpu.cfs_period_us", cpu.period);
  if (cpu.burst)
    out.Add("cpu", "cpu.cfs_burst_us", std::to_string(*cpu.burst), *cpu.burst == 0);
  if (cpu.quota.value_or(0) != 0)
    out.Add("cpu", "cpu.cfs_quota_us", std::max<int64_t>(*cpu.quota, -1) == -1 ? "-1" : std::to_string(*cpu.quota));
  if (cpu.realtime_period.value_or(0) != 0)
    out.Add("cpu", "cpu.rt_period_us", cpu.realtime_period);
  if (cpu.realtime_runtime.value_or(0) != 0)
    out.Add("cpu", "cpu.rt_runtime_us", cpu.realtime_runtime);
  AddIdleAndSets(cpu, out);
}

void AddBlockIoV1(const SpecBlockIo& io, Writes& out) {
  // The files have the name of the scheduler that does it, where there is more than one.
  if (io.weight.value_or(0) != 0)
    out.AddOr("blkio", "blkio.weight", std::to_string(*io.weight), "blkio.bfq.weight", std::to_string(*io.weight));
  if (io.leaf_weight.value_or(0) != 0)
    out.Add("blkio", "blkio.leaf_weight", io.leaf_weight);
  for (const DeviceValue& device : io.weight_device) {
    const std::string value = DeviceText(device) + " " + std::to_string(device.value);
    if (device.value != 0)
      out.AddOr("blkio", "blkio.weight_device", value, "blkio.bfq.weight_device", value);
    if (device.leaf != 0)
      out.Add("blkio", "blkio.leaf_weight_device", DeviceText(device) + " " + std::to_string(device.leaf));
  }
  const std::pair<const char*, const std::vector<DeviceValue>*> throttles[] = {
      {"blkio.throttle.read_bps_device", &io.read_bps},
      {"blkio.throttle.write_bps_device", &io.write_bps},
      {"blkio.throttle.read_iops_device", &io.read_iops},
      {"blkio.throttle.write_iops_device", &io.write_iops}};
  for (const auto& [file, devices] : throttles) {
    for (const DeviceValue& device : *devices)
      out.Add("blkio", file, DeviceText(device) + " " + std::to_string(device.value));
  }
}

std::string RdmaText(const std::string& name, const SpecRdma& limits) {
  std::string out = name;
  if (limits.handles)
    out += " hca_handle=" + std::to_string(*limits.handles);
  if (limits.objects)
    out += " hca_object=" + std::to_string(*limits.objects);
  return out;
}

// By the name in config.json.
void RefuseInV2(bool wanted, const char* name, const char* hint) {
  if (wanted)
    throw Error(ErrorKind::kUnsupported, "cgroup v2 has no linux.resources." + std::string(name), hint);
}

void AddMemoryV2(const SpecMemory& memory, Writes& out) {
  RefuseWhatIsGone(memory);
  RefuseInV2(memory.kernel_tcp.value_or(0) > 0, "memory.kernelTCP", "leave it out: memory.limit counts it");
  RefuseInV2(memory.swappiness.has_value(), "memory.swappiness", "leave it out: vm.swappiness of the host counts");
  RefuseInV2(memory.disable_oom_killer.value_or(false), "memory.disableOOMKiller", "leave it out");
  if (memory.limit.value_or(0) != 0)
    out.Add("memory", "memory.max", LimitText(*memory.limit));
  if (memory.reservation.value_or(0) != 0)
    out.Add("memory", "memory.low", LimitText(*memory.reservation));
  if (memory.swap.value_or(0) != 0) {
    // v1 counts memory and swap together.
    const int64_t limit = memory.limit.value_or(0);
    if (*memory.swap > 0 && limit <= 0)
      throw Error(ErrorKind::kUnsupported, "a limit of swap without one of memory cannot be set in cgroup v2",
                  "give linux.resources.memory.limit, too");
    out.Add("memory", "memory.swap.max", *memory.swap < 0 ? "max" : std::to_string(*memory.swap - limit),
            *memory.swap <= 0);
  }
}

void AddCpuV2(const SpecCpu& cpu, Writes& out) {
  if (cpu.realtime_runtime.value_or(0) > 0 || cpu.realtime_period.value_or(0) > 0)
    throw Error(ErrorKind::kUnsupported, "cgroup v2 has no limits of realtime scheduling",
                "leave realtimeRuntime and realtimePeriod out of linux.resources.cpu");
  // v1's 2 to 262144 onto v2's 1 to 10000, as all runtimes do.
  if (cpu.shares.value_or(0) != 0) {
    const uint64_t shares = std::clamp<uint64_t>(*cpu.shares, 2, 262144);
    out.Add("cpu", "cpu.weight", std::to_string(1 + (shares - 2) * 9999 / 262142));
  }
  if (cpu.quota.value_or(0) != 0 || cpu.period.value_or(0) != 0) {
    const uint64_t period = cpu.period.value_or(0) != 0 ? *cpu.period : kDefaultPeriod;
    const int64_t quota = cpu.quota.value_or(0);
    out.Add("cpu", "cpu.max", (quota > 0 ? std::to_string(quota) : "max") + " " + std::to_string(period));
  }
  if (cpu.burst)
    out.Add("cpu", "cpu.max.burst", std::to_string(*cpu.burst), *cpu.burst == 0);
  AddIdleAndSets(cpu, out);
}

void AddBlockIoV2(const SpecBlockIo& io, Writes& out) {
  // 10 to 1000 onto 1 to 10000.
  const auto weight = [](uint64_t v1) { return std::to_string(1 + (std::max<uint64_t>(v1, 10) - 10) * 9999 / 990); };
  RefuseInV2(io.leaf_weight.value_or(0) != 0, "blockIO.leafWeight", "give blockIO.weight alone");
  if (io.weight.value_or(0) != 0)
    out.AddOr("io", "io.weight", "default " + weight(*io.weight), "io.bfq.weight",
              "default " + std::to_string(*io.weight));
  for (const DeviceValue& device : io.weight_device) {
    RefuseInV2(device.leaf != 0, "blockIO.weightDevice.leafWeight", "give its weight alone");
    if (device.value != 0)
      out.AddOr("io", "io.weight", DeviceText(device) + " " + weight(device.value), "io.bfq.weight",
                DeviceText(device) + " " + std::to_string(device.value));
  }
  const std::pair<const char*, const std::vector<DeviceValue>*> throttles[] = {
      {"rbps", &io.read_bps}, {"wbps", &io.write_bps}, {"riops", &io.read_iops}, {"wiops", &io.write_iops}};
  for (const auto& [key, devices] : throttles) {
    for (const DeviceValue& device : *devices)
      out.Add("io", "io.max", DeviceText(device) + " " + key + "=" + std::to_string(device.value));
  }
}

DeviceRule Allow(char type, std::optional<int64_t> major, std::optional<int64_t> minor, const char* access) {
  return {true, type, major, minor, access};
}

}  // namespace

std::vector<ControlWrite> WritesForV1(const SpecResources& resources) {
  Writes out;
  AddMemoryV1(resources.memory, out);
  AddCpuV1(resources.cpu, out);
  if (resources.pids.value_or(0) != 0)
    out.Add("pids", "pids.max", LimitText(*resources.pids));
  AddBlockIoV1(resources.block_io, out);
  // Where the kernel counts reservations, their limit is the one that spares a process SIGBUS.
  for (const auto& [size, limit] : resources.huge_pages) {
    out.Add("hugetlb", "hugetlb." + size + ".limit_in_bytes", std::to_string(limit));
    out.Add("hugetlb", "hugetlb." + size + ".rsvd.limit_in_bytes", std::to_string(limit), true);
  }
  if (resources.class_id)
    out.Add("net_cls", "net_cls.classid", std::to_string(*resources.class_id));
  for (const auto& [device, priority] : resources.network_priorities)
    out.Add("net_prio", "net_prio.ifpriomap", device + " " + std::to_string(priority));
  for (const auto& [device, limits] : resources.rdma) out.Add("rdma", "rdma.max", RdmaText(device, limits));
  return out.Finish();
}

std::vector<ControlWrite> WritesForV2(const SpecResources& resources) {
  if (resources.class_id || !resources.network_priorities.empty())
    throw Error(ErrorKind::kUnsupported,
                "cgroup v2 has no classes and priorities of network traffic, and v1's are not here",
                "leave linux.resources.network out, or mount net_cls and net_prio of cgroup v1");
  Writes out;
  AddMemoryV2(resources.memory, out);
  AddCpuV2(resources.cpu, out);
  if (resources.pids.value_or(0) != 0)
    out.Add("pids", "pids.max", LimitText(*resources.pids));
  AddBlockIoV2(resources.block_io, out);
  for (const auto& [size, limit] : resources.huge_pages) {
    out.Add("hugetlb", "hugetlb." + size + ".max", std::to_string(limit));
    out.Add("hugetlb", "hugetlb." + size + ".rsvd.max", std::to_string(limit), true);
  }
  for (const auto& [device, limits] : resources.rdma) out.Add("rdma", "rdma.max", RdmaText(device, limits));
  return out.Finish();
}

std::vector<DeviceRule> WithStandardDevices(std::vector<DeviceRule> rules) {
  // Any node may be made, only these opened: what Docker and all runtimes since allow.
  for (const DeviceRule& rule :
       {Allow('c', {}, {}, "m"), Allow('b', {}, {}, "m"), Allow('c', 1, 3, "rwm"), Allow('c', 1, 5, "rwm"),
        Allow('c', 1, 7, "rwm"), Allow('c', 1, 8, "rwm"), Allow('c', 1, 9, "rwm"), Allow('c', 5, 0, "rwm"),
        Allow('c', 5, 2, "rwm"), Allow('c', 136, {}, "rwm")})
    rules.push_back(rule);
  return rules;
}

std::string ToString(const DeviceRule& rule) {
  if (rule.type == 'a')
    return "a *:* " + rule.access;
  const auto number = [](const std::optional<int64_t>& n) { return n ? std::to_string(*n) : "*"; };
  return std::string(1, rule.type) + " " + number(rule.major) + ":" + number(rule.minor) + " " + rule.access;
}

}  // namespace gantry::runner
