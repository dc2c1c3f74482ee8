#include "runner/cgroup_stats.h"

#include <map>
#include <optional>
#include <string>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr uint64_t kNoLimit = UINT64_MAX;
constexpr uint64_t kNanoseconds = 1000;            // in a microsecond
constexpr uint64_t kTickNanoseconds = 10'000'000;  // of cpuacct.stat

std::string ReadIfThere(const std::string& path) {
  try {
    return ReadControl(path);
  } catch (const Error&) {
    return {};
  }
}

std::optional<uint64_t> ReadNumber(const std::string& path) {
  const std::string text = ReadIfThere(path);
  if (Trimmed(text) == "max")
    return kNoLimit;
  return ParseDecimal<uint64_t>(Trimmed(text));
}

// Lines of "name number".
std::map<std::string, uint64_t> ReadFields(const std::string& path) {
  std::map<std::string, uint64_t> out;
  const std::string text = ReadIfThere(path);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    const size_t space = line.find(' ');
    if (space != std::string_view::npos) {
      if (const auto number = ParseDecimal<uint64_t>(line.substr(space + 1)))
        out[std::string(line.substr(0, space))] = *number;
    }
    begin = end + 1;
  }
  return out;
}

json::Array Numbers(const std::string& text) {
  json::Array out;
  for (size_t at = text.find_first_not_of(" \n"); at != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(" \n", at), text.size());
    if (const auto number = ParseDecimal<uint64_t>(std::string_view(text).substr(at, end - at)))
      out.emplace_back(*number);
    at = text.find_first_not_of(" \n", end);
  }
  return out;
}

json::Object CpuStats(const BundleCgroup& cgroup) {
  json::Object usage;
  json::Object throttling;
  const std::string account = cgroup.DirectoryOf("cpuacct");
  const std::string cpu = cgroup.DirectoryOf("cpu");
  auto fields = ReadFields(cpu + "/cpu.stat");
  if (!account.empty()) {
    auto ticks = ReadFields(account + "/cpuacct.stat");
    usage.Set("total", ReadNumber(account + "/cpuacct.usage").value_or(0));
    usage.Set("percpu", Numbers(ReadIfThere(account + "/cpuacct.usage_percpu")));
    usage.Set("kernel", ticks["system"] * kTickNanoseconds);
    usage.Set("user", ticks["user"] * kTickNanoseconds);
  } else {
    usage.Set("total", fields["usage_usec"] * kNanoseconds);
    usage.Set("kernel", fields["system_usec"] * kNanoseconds);
    usage.Set("user", fields["user_usec"] * kNanoseconds);
  }
  throttling.Set("periods", fields["nr_periods"]);
  throttling.Set("throttledPeriods", fields["nr_throttled"]);
  throttling.Set("throttledTime", fields.contains("throttled_usec") ? fields["throttled_usec"] * kNanoseconds
                                                                    : fields["throttled_time"]);
  return {{"usage", usage}, {"throttling", throttling}};
}

json::Object MemoryEntry(const std::string& prefix) {
  return {{"limit", ReadNumber(prefix + ".limit_in_bytes").value_or(kNoLimit)},
          {"usage", ReadNumber(prefix + ".usage_in_bytes").value_or(0)},
          {"max", ReadNumber(prefix + ".max_usage_in_bytes").value_or(0)},
          {"failcnt", ReadNumber(prefix + ".failcnt").value_or(0)}};
}

json::Object MemoryStats(const std::string& directory) {
  json::Object out;
  const auto fields = ReadFields(directory + "/memory.stat");
  json::Object raw;
  for (const auto& [name, value] : fields) raw.Append(name, value);
  const auto field = [&](const char* name) {
    const auto found = fields.find(name);
    return found == fields.end() ? uint64_t{0} : found->second;
  };
  if (ReadNumber(directory + "/memory.usage_in_bytes")) {
    out.Set("cache", field("cache"));
    out.Set("usage", MemoryEntry(directory + "/memory"));
    out.Set("swap", MemoryEntry(directory + "/memory.memsw"));
    out.Set("kernel", MemoryEntry(directory + "/memory.kmem"));
    out.Set("kernelTCP", MemoryEntry(directory + "/memory.kmem.tcp"));
  } else {
    out.Set("cache", field("file"));
    out.Set("usage", json::Object{{"limit", ReadNumber(directory + "/memory.max").value_or(kNoLimit)},
                                  {"usage", ReadNumber(directory + "/memory.current").value_or(0)},
                                  {"max", ReadNumber(directory + "/memory.peak").value_or(0)},
                                  {"failcnt", uint64_t{0}}});
    out.Set("swap", json::Object{{"limit", ReadNumber(directory + "/memory.swap.max").value_or(kNoLimit)},
                                 {"usage", ReadNumber(directory + "/memory.swap.current").value_or(0)},
                                 {"failcnt", uint64_t{0}}});
  }
  out.Set("raw", raw);
  return out;
}

// "8:0 Read 4096" lines of v1.
json::Array BlockEntries(const std::string& path) {
  json::Array out;
  const std::string text = ReadIfThere(path);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const size_t colon = line.find(':');
    const size_t first = line.find(' ');
    const size_t second = first == std::string::npos ? first : line.find(' ', first + 1);
    if (colon < first && second != std::string::npos)
      out.push_back(
          json::Object{{"major", ParseDecimal<uint64_t>(line.substr(0, colon)).value_or(0)},
                       {"minor", ParseDecimal<uint64_t>(line.substr(colon + 1, first - colon - 1)).value_or(0)},
                       {"op", line.substr(first + 1, second - first - 1)},
                       {"value", ParseDecimal<uint64_t>(line.substr(second + 1)).value_or(0)}});
    begin = end + 1;
  }
  return out;
}

}  // namespace

json::Object ReadStats(const BundleCgroup& cgroup) {
  json::Object out;
  if (!cgroup.DirectoryOf("cpu").empty())
    out.Set("cpu", CpuStats(cgroup));
  if (const std::string memory = cgroup.DirectoryOf("memory"); !memory.empty())
    out.Set("memory", MemoryStats(memory));
  if (const std::string pids = cgroup.DirectoryOf("pids"); !pids.empty()) {
    const uint64_t limit = ReadNumber(pids + "/pids.max").value_or(0);
    out.Set("pids", json::Object{{"current", ReadNumber(pids + "/pids.current").value_or(0)},
                                 {"limit", limit == kNoLimit ? 0 : limit}});
  }
  if (const std::string io = cgroup.DirectoryOf("blkio"); !io.empty())
    out.Set("blkio",
            json::Object{{"ioServiceBytesRecursive", BlockEntries(io + "/blkio.throttle.io_service_bytes_recursive")},
                         {"ioServicedRecursive", BlockEntries(io + "/blkio.throttle.io_serviced_recursive")}});
  return out;
}

uint64_t OomKills(const BundleCgroup& cgroup) {
  const std::string memory = cgroup.DirectoryOf("memory");
  if (memory.empty())
    return 0;
  auto events = ReadFields(memory + "/memory.events");
  auto control = ReadFields(memory + "/memory.oom_control");
  return events["oom_kill"] + control["oom_kill"];
}

}  // namespace gantry::runner
