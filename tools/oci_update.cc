#include "tools/oci_update.h"

#include <unistd.h>

#include <cctype>
#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxUpdateBytes = 1024 * 1024;

// runc and crun say "share", gantry-run and everybody else "shares".
constexpr const char* kCpuShares = "--cpu-share,--cpu-shares";

struct Flag {
  const char* name;
  const char* what;
};
constexpr Flag kFlags[] = {
    {"--memory", "bytes of memory, with K, M or G; -1 for no limit"},
    {"--memory-reservation", "bytes to keep when memory is short"},
    {"--memory-swap", "bytes of memory and swap together"},
    {kCpuShares, "weight among others"},
    {"--cpu-quota", "microseconds in each period"},
    {"--cpu-period", "microseconds"},
    {"--cpu-burst", "microseconds that may be saved up"},
    {"--cpu-rt-runtime", "microseconds of realtime in each period"},
    {"--cpu-rt-period", "microseconds"},
    {"--cpu-idle", "1: run only when nobody else wants to"},
    {"--cpuset-cpus", "which processors"},
    {"--cpuset-mems", "which memory nodes"},
    {"--pids-limit", "processes; -1 for no limit"},
    {"--blkio-weight", "weight of I/O, 10 to 1000"},
};

std::optional<std::string> Value(const OciUpdateOptions& options, const char* flag) {
  const auto found = options.values.find(flag);
  if (found == options.values.end() || found->second.empty())
    return std::nullopt;
  return found->second;
}

[[noreturn]] void Refuse(const char* flag, const std::string& text) {
  throw Error(ErrorKind::kUsage, std::string(flag).substr(0, std::string(flag).find(',')) + " " + Quoted(text) +
                                     " is not a number it takes");
}

std::optional<int64_t> Number(const OciUpdateOptions& options, const char* flag) {
  const auto text = Value(options, flag);
  if (!text)
    return std::nullopt;
  const bool negative = text->starts_with('-');
  const auto number = ParseDecimal<int64_t>(std::string_view(*text).substr(negative ? 1 : 0));
  if (!number)
    Refuse(flag, *text);
  return negative ? -*number : *number;
}

std::optional<uint64_t> Count(const OciUpdateOptions& options, const char* flag) {
  const auto number = Number(options, flag);
  if (number && *number < 0)
    Refuse(flag, std::to_string(*number));
  return number ? std::optional<uint64_t>(static_cast<uint64_t>(*number)) : std::nullopt;
}

std::optional<int64_t> Bytes(const OciUpdateOptions& options, const char* flag) {
  auto text = Value(options, flag);
  if (!text || *text == "-1")
    return text ? std::optional<int64_t>(-1) : std::nullopt;
  int shift = 0;
  constexpr std::string_view kUnits = "bkmgt";
  const auto unit = kUnits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(text->back()))));
  if (unit != std::string_view::npos) {
    shift = static_cast<int>(unit) * 10;
    text->pop_back();
  }
  const auto number = ParseDecimal<int64_t>(*text);
  if (!number || *number > (INT64_MAX >> shift))
    Refuse(flag, *text);
  return *number << shift;
}

runner::SpecResources FromFile(const std::string& file) {
  const std::string name = file == "-" ? "standard input" : file;
  const std::string text = file == "-" ? ReadAll(STDIN_FILENO, kMaxUpdateBytes, name) : ReadFile(file, kMaxUpdateBytes);
  const json::Value document = json::Parse(text, name);
  return runner::ParseSpecResources(json::Cursor(document, name));
}

}  // namespace

void AddUpdateOptions(CLI::App& command, OciUpdateOptions& options) {
  command.add_option("-r,--resources", options.file, "limits as linux.resources has them; - for standard input")
      ->type_name("FILE");
  for (const Flag& flag : kFlags) command.add_option(flag.name, options.values[flag.name], flag.what)->type_name("N");
}

runner::SpecResources ResourcesOf(const OciUpdateOptions& options) {
  if (!options.file.empty())
    return FromFile(options.file);
  runner::SpecResources out;
  out.memory.limit = Bytes(options, "--memory");
  out.memory.reservation = Bytes(options, "--memory-reservation");
  out.memory.swap = Bytes(options, "--memory-swap");
  out.cpu.shares = Count(options, kCpuShares);
  out.cpu.quota = Number(options, "--cpu-quota");
  out.cpu.period = Count(options, "--cpu-period");
  out.cpu.burst = Count(options, "--cpu-burst");
  out.cpu.realtime_runtime = Number(options, "--cpu-rt-runtime");
  out.cpu.realtime_period = Count(options, "--cpu-rt-period");
  out.cpu.idle = Number(options, "--cpu-idle");
  out.cpu.cpus = Value(options, "--cpuset-cpus").value_or("");
  out.cpu.mems = Value(options, "--cpuset-mems").value_or("");
  out.pids = Number(options, "--pids-limit");
  out.block_io.weight = Count(options, "--blkio-weight");
  return out;
}

}  // namespace gantry::tools
