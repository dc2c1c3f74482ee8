#include "runner/limits.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr uint64_t kCpuPeriod = 100'000;  // microseconds

struct stat LookAt(const std::string& path, std::string_view option) {
  struct stat status {};
  if (stat(path.c_str(), &status) < 0)
    ThrowErrno("look at the device " + Quoted(path));
  if (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode))
    throw Error(ErrorKind::kUsage, std::string(option) + ": " + Quoted(path) + " is no device");
  return status;
}

void AddRate(const Limits::Rate& rate, SpecBlockIo& out) {
  const struct stat status = LookAt(rate.device, "limit");
  if (!S_ISBLK(status.st_mode))
    throw Error(ErrorKind::kUsage, Quoted(rate.device) + " is no block device");
  const DeviceValue value{major(status.st_rdev), minor(status.st_rdev), rate.per_second};
  switch (rate.kind) {
    case Limits::Rate::Kind::kReadBytes:
      out.read_bps.push_back(value);
      break;
    case Limits::Rate::Kind::kWriteBytes:
      out.write_bps.push_back(value);
      break;
    case Limits::Rate::Kind::kReadOperations:
      out.read_iops.push_back(value);
      break;
    case Limits::Rate::Kind::kWriteOperations:
      out.write_iops.push_back(value);
      break;
  }
}

std::string NoteOf(const std::vector<BundleCgroup::Group>& wanted, const BundleCgroup& made) {
  if (wanted.empty())
    return "this machine has no cgroups at /sys/fs/cgroup: no limits";
  if (made.groups().size() == wanted.size())
    return {};
  for (const BundleCgroup::Group& group : wanted) {
    const auto same = [&](const BundleCgroup::Group& other) { return other.path == group.path; };
    if (std::ranges::none_of(made.groups(), same))
      return "no cgroup in " + group.path.substr(0, group.path.rfind('/')) + ": no limits there";
  }
  return {};
}

}  // namespace

SpecResources ResourcesOf(const RunConfig& config) {
  const Limits& limits = config.limits;
  SpecResources out;
  out.memory.limit = limits.memory;
  out.memory.swap = limits.memory_swap;
  out.memory.reservation = limits.memory_reservation;
  if (limits.cpu_microseconds) {
    out.cpu.quota = static_cast<int64_t>(*limits.cpu_microseconds);
    out.cpu.period = kCpuPeriod;
  }
  out.cpu.shares = limits.cpu_shares;
  out.cpu.cpus = limits.cpus;
  out.cpu.mems = limits.memory_nodes;
  out.pids = limits.pids;
  out.block_io.weight = limits.io_weight;
  for (const Limits::Rate& rate : limits.rates) AddRate(rate, out.block_io);
  for (const DeviceNode& device : config.devices) {
    const struct stat status = LookAt(device.source, "--device");
    out.devices.push_back(
        {true, S_ISBLK(status.st_mode) ? 'b' : 'c', major(status.st_rdev), minor(status.st_rdev), device.access});
  }
  return out;
}

std::vector<NodePlan> NodesOf(const RunConfig& config) {
  std::vector<NodePlan> out;
  for (const DeviceNode& device : config.devices) {
    const struct stat status = LookAt(device.source, "--device");
    out.push_back({device.target.c_str(), status.st_mode, status.st_rdev, status.st_uid, status.st_gid});
  }
  return out;
}

std::pair<BundleCgroup, std::string> MakeGroups(const RunConfig& config, const std::string& name) {
  SpecResources resources = ResourcesOf(config);
  BundleCgroup made = BundleCgroup::ForPod(name);
  const std::vector<BundleCgroup::Group> wanted = made.groups();
  made.Make({.devices = resources.devices});
  std::string note = NoteOf(wanted, made);
  if (!resources.pids) {
    if (!made.DirectoryOf("pids").empty())
      resources.pids = static_cast<int64_t>(kDefaultPidsLimit);
    else if (note.empty())
      note = "the number of processes is not limited: there is no pids controller";
  }
  resources.devices.clear();
  made.Apply(resources, false);
  made.OpenForJoining();
  return {std::move(made), std::move(note)};
}

}  // namespace gantry::runner
