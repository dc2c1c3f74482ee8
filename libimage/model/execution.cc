#include "libimage/model/execution.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::image {
namespace {

// By number, in lower case.
constexpr std::array<std::string_view, 32> kSignals = {
    "",     "hup",  "int",  "quit", "ill",    "trap",   "abrt",  "bus",  "fpe",  "kill", "usr1",
    "segv", "usr2", "pipe", "alrm", "term",   "stkflt", "chld",  "cont", "stop", "tstp", "ttin",
    "ttou", "urg",  "xcpu", "xfsz", "vtalrm", "prof",   "winch", "io",   "pwr",  "sys"};
constexpr std::array<std::pair<std::string_view, int>, 3> kSignalAliases = {{{"iot", 6}, {"cld", 17}, {"poll", 29}}};
constexpr int kFirstRealTime = 34, kLastRealTime = 64;  // as glibc has them

// "" or "+3" after RTMIN, "-3" after RTMAX.
std::optional<int> RealTimeSignal(int base, char sign, int direction, std::string_view offset) {
  if (offset.empty())
    return base;
  const auto steps = offset.front() == sign ? ParseDecimal<int>(offset.substr(1)) : std::nullopt;
  if (!steps || *steps > kLastRealTime - kFirstRealTime)
    return std::nullopt;
  return base + direction * *steps;
}

void SortUnique(std::vector<std::string>& texts) {
  std::ranges::sort(texts);
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
}

std::vector<std::string> Environment(const std::vector<std::string>& written) {
  std::vector<std::string> out;
  std::unordered_map<std::string_view, size_t> places;
  for (const std::string& entry : written) {
    if (entry.find('=') == std::string::npos || entry.starts_with('='))
      continue;
    const auto [place, is_new] = places.emplace(std::string_view(entry).substr(0, entry.find('=')), out.size());
    if (is_new)
      out.push_back(entry);
    else
      out[place->second] = entry;
  }
  return out;
}

std::string Port(std::string_view written) {
  const size_t slash = std::min(written.find('/'), written.size());
  const std::string_view number = written.substr(0, slash);
  const std::string protocol = LowerAscii(written.substr(std::min(slash + 1, written.size())));
  // Ranges stay as they are.
  const auto parsed = ParseDecimal<uint32_t>(number);
  return (parsed ? std::to_string(*parsed) : std::string(number)) + "/" + (protocol.empty() ? "tcp" : protocol);
}

}  // namespace

Execution Execution::Of(const ImageConfig& config) {
  Execution out;
  out.args = config.entrypoint;
  out.args.insert(out.args.end(), config.cmd.begin(), config.cmd.end());
  out.env = Environment(config.env);
  out.cwd = CleanAbsolute(config.working_dir);
  out.user = config.user.empty() || config.user == "0" ? "0:0" : config.user;
  for (const std::string& path : config.volumes) out.volumes.push_back(CleanAbsolute(path));
  SortUnique(out.volumes);
  for (const std::string& port : config.exposed_ports) out.ports.push_back(Port(port));
  SortUnique(out.ports);
  if (!config.stop_signal.empty()) {
    const auto signal = ParseSignal(config.stop_signal);
    if (!signal)
      throw Error(ErrorKind::kCorrupt, "the image's stop signal " + Quoted(config.stop_signal) + " is unknown");
    out.stop_signal = *signal;
  }
  return out;
}

std::string CleanAbsolute(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part == "..") {
      if (!parts.empty())
        parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    begin = end + 1;
  }
  std::string out;
  for (const std::string_view part : parts) out.append("/").append(part);
  return out.empty() ? "/" : out;
}

std::optional<int> ParseSignal(std::string_view text) {
  if (const auto number = ParseDecimal<int>(text))
    return *number >= 1 && *number <= kLastRealTime ? number : std::nullopt;
  const std::string lower = LowerAscii(text);
  std::string_view name = lower;
  if (name.starts_with("sig"))
    name.remove_prefix(3);
  if (const auto known = std::ranges::find(kSignals, name); known != kSignals.end() && !name.empty())
    return static_cast<int>(known - kSignals.begin());
  for (const auto& [alias, number] : kSignalAliases) {
    if (name == alias)
      return number;
  }
  if (name.starts_with("rtmin"))
    return RealTimeSignal(kFirstRealTime, '+', 1, name.substr(5));
  if (name.starts_with("rtmax"))
    return RealTimeSignal(kLastRealTime, '-', -1, name.substr(5));
  return std::nullopt;
}

}  // namespace gantry::image
