#include "runner/spec_resources.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr size_t kMaxRules = 8192;
constexpr size_t kMaxEntries = 1024;
constexpr size_t kMaxValueBytes = 64 * 1024;

void Take(const json::Cursor& at, std::string_view key, std::optional<uint64_t>& into, uint64_t max = kAny) {
  if (const auto found = at.Find(key))
    into = found->Unsigned(max);
}

void Take(const json::Cursor& at, std::string_view key, std::optional<int64_t>& into, int64_t min = -1) {
  if (const auto found = at.Find(key))
    into = found->Integer(min, kMost);
}

void Take(const json::Cursor& at, std::string_view key, std::optional<bool>& into) {
  if (const auto found = at.Find(key))
    into = found->Bool();
}

DeviceRule ParseRule(const json::Cursor& at) {
  DeviceRule out;
  out.allow = at.At("allow").Bool();
  if (const auto type = at.Find("type"); type && !type->String().empty()) {
    if (type->String() != "a" && type->String() != "c" && type->String() != "b")
      type->Fail("expected 'a', 'c' or 'b'");
    out.type = type->String()[0];
  }
  Take(at, "major", out.major);
  Take(at, "minor", out.minor);
  for (auto* number : {&out.major, &out.minor}) {
    if (*number == -1)
      number->reset();
  }
  if (const auto access = at.Find("access"); access && !access->String().empty()) {
    out.access = access->String();
    if (out.access.find_first_not_of("rwm") != std::string::npos || out.access.size() > 3)
      access->Fail("expected letters of 'rwm'");
  }
  return out;
}

SpecMemory ParseMemory(const json::Cursor& at) {
  SpecMemory out;
  Take(at, "limit", out.limit);
  Take(at, "reservation", out.reservation);
  Take(at, "swap", out.swap);
  Take(at, "kernel", out.kernel);
  Take(at, "kernelTCP", out.kernel_tcp);
  Take(at, "swappiness", out.swappiness, 100);
  Take(at, "disableOOMKiller", out.disable_oom_killer);
  Take(at, "useHierarchy", out.use_hierarchy);
  if (const auto check = at.Find("checkBeforeUpdate"))
    out.check_before_update = check->Bool();
  if (out.swap.value_or(0) > 0 && out.limit.value_or(0) > *out.swap)
    at.Fail("expected swap, which is memory and swap together, to be no less than limit");
  return out;
}

// "0-3,8": what the kernel takes, and no more.
std::string CpuList(const json::Cursor& at) {
  const std::string& list = at.String(kMaxValueBytes);
  if (list.find_first_not_of("0123456789,- ") != std::string::npos)
    at.Fail("expected a list like '0-3,8'");
  return list;
}

SpecCpu ParseCpu(const json::Cursor& at) {
  SpecCpu out;
  Take(at, "shares", out.shares);
  Take(at, "quota", out.quota, std::numeric_limits<int64_t>::min());
  Take(at, "burst", out.burst);
  Take(at, "period", out.period);
  Take(at, "realtimeRuntime", out.realtime_runtime);
  Take(at, "realtimePeriod", out.realtime_period);
  Take(at, "idle", out.idle);
  if (const auto cpus = at.Find("cpus"))
    out.cpus = CpuList(*cpus);
  if (const auto mems = at.Find("mems"))
    out.mems = CpuList(*mems);
  return out;
}

std::vector<DeviceValue> ParseDeviceValues(const json::Cursor& at, std::string_view key, bool weights) {
  std::vector<DeviceValue> out;
  const auto list = at.Find(key);
  for (const json::Cursor& one : list ? list->Elements(kMaxEntries) : std::vector<json::Cursor>()) {
    DeviceValue value;
    value.major = one.At("major").Unsigned(0xFFF);
    value.minor = one.At("minor").Unsigned(0xFFFFF);
    std::optional<uint64_t> number, leaf;
    Take(one, weights ? "weight" : "rate", number);
    Take(one, "leafWeight", leaf);
    value.value = number.value_or(0);
    value.leaf = leaf.value_or(0);
    out.push_back(value);
  }
  return out;
}

SpecBlockIo ParseBlockIo(const json::Cursor& at) {
  SpecBlockIo out;
  Take(at, "weight", out.weight, 1000);
  Take(at, "leafWeight", out.leaf_weight, 1000);
  out.weight_device = ParseDeviceValues(at, "weightDevice", true);
  out.read_bps = ParseDeviceValues(at, "throttleReadBpsDevice", false);
  out.write_bps = ParseDeviceValues(at, "throttleWriteBpsDevice", false);
  out.read_iops = ParseDeviceValues(at, "throttleReadIOPSDevice", false);
  out.write_iops = ParseDeviceValues(at, "throttleWriteIOPSDevice", false);
  return out;
}

std::map<std::string, uint64_t> ParseHugePages(const json::Cursor& at) {
  std::map<std::string, uint64_t> out;
  for (const json::Cursor& one : at.Elements(kMaxEntries)) {
    const json::Cursor size = one.At("pageSize");
    const std::string& name = size.String(32);
    const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits == 0 || (name.substr(digits) != "KB" && name.substr(digits) != "MB" && name.substr(digits) != "GB"))
      size.Fail("expected a size like '2MB'");
    out[name] = one.At("limit").Unsigned(kAny);
  }
  return out;
}

void ParseNetwork(const json::Cursor& at, SpecResources& out) {
  if (const auto id = at.Find("classID"))
    out.class_id = static_cast<uint32_t>(id->Unsigned(0xFFFFFFFF));
  const auto priorities = at.Find("priorities");
  for (const json::Cursor& one : priorities ? priorities->Elements(kMaxEntries) : std::vector<json::Cursor>()) {
    const json::Cursor name = one.At("name");
    if (name.String(64).empty() || name.String().find_first_of(" \n") != std::string::npos)
      name.Fail("expected the name of a network device");
    out.network_priorities[name.String()] = one.At("priority").Unsigned(0xFFFFFFFF);
  }
}

std::map<std::string, SpecRdma> ParseRdma(const json::Cursor& at) {
  std::map<std::string, SpecRdma> out;
  for (const auto& [name, value] : at.Members(kMaxEntries)) {
    if (name.empty() || name.find_first_of(" \n") != std::string::npos)
      value.Fail("expected the name of a device");
    SpecRdma one;
    Take(value, "hcaHandles", one.handles, 0xFFFFFFFF);
    Take(value, "hcaObjects", one.objects, 0xFFFFFFFF);
    if (!one.handles && !one.objects)
      value.Fail("expected hcaHandles, hcaObjects or both");
    out[name] = one;
  }
  return out;
}

// Files of a v2 group, "memory.high": a plain name, so that it cannot lead out of the group.
std::map<std::string, std::string> ParseUnified(const json::Cursor& at) {
  std::map<std::string, std::string> out;
  for (const auto& [file, value] : at.Members(kMaxEntries)) {
    const bool plain = std::ranges::all_of(
        file, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.'; });
    if (!plain || file.find('.') == std::string::npos || file.starts_with('.') || file.starts_with("cgroup."))
      value.Fail("expected the name of a controller's file, found " + Quoted(file));
    out[file] = value.String(kMaxValueBytes);
  }
  return out;
}

}  // namespace

SpecResources ParseSpecResources(const json::Cursor& at) {
  SpecResources out;
  if (const auto devices = at.Find("devices")) {
    for (const json::Cursor& rule : devices->Elements(kMaxRules)) out.devices.push_back(ParseRule(rule));
  }
  if (const auto memory = at.Find("memory"))
    out.memory = ParseMemory(*memory);
  if (const auto cpu = at.Find("cpu"))
    out.cpu = ParseCpu(*cpu);
  if (const auto pids = at.Find("pids"))
    Take(*pids, "limit", out.pids, std::numeric_limits<int64_t>::min());
  if (const auto block_io = at.Find("blockIO"))
    out.block_io = ParseBlockIo(*block_io);
  if (const auto huge_pages = at.Find("hugepageLimits"))
    out.huge_pages = ParseHugePages(*huge_pages);
  if (const auto network = at.Find("network"))
    ParseNetwork(*network, out);
  if (const auto rdma = at.Find("rdma"))
    out.rdma = ParseRdma(*rdma);
  if (const auto unified = at.Find("unified"))
    out.unified = ParseUnified(*unified);
  return out;
}

}  // namespace gantry::runner
