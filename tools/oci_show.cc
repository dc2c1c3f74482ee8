#include "tools/oci_show.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/process.h"
#include "runner/cgroup_stats.h"
#include "runner/container_state.h"
#include "runner/features.h"
#include "tools/oci_options.h"
#include "tools/table.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxPsBytes = 16 * 1024 * 1024;
constexpr std::chrono::seconds kLook{1};

void PrintLine(const json::Value& value) {
  const std::string text = json::Print(value) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void AddFormat(CLI::App& command, OciShowOptions& options) {
  command.add_option("-f,--format", options.format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("table|json")
      ->option_text("table|json");
}

struct Unit {
  std::string_view name;
  double nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3}, {"\u00b5s", 1e3}, {"\u03bcs", 1e3},
                           {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},      {"h", 3600e9}};
constexpr double kMaxInterval = 1e18;  // nanoseconds, of 31 years

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes digits with at most one point from the front of `text`; nullopt where there is none.
std::optional<double> TakeNumber(std::string_view& text) {
  double number = 0;
  double place = 0;  // 0 before the point
  bool any = false;
  for (; !text.empty() && (IsDigit(text.front()) || (text.front() == '.' && place == 0)); text.remove_prefix(1)) {
    if (text.front() == '.') {
      place = 1;
      continue;
    }
    any = true;
    number = number * 10 + (text.front() - '0');
    place *= 10;
  }
  return any ? std::optional(place > 1 ? number / place : number) : std::nullopt;
}

// As programs in Go write a duration, "500ms" or "1m30s", or seconds.
std::chrono::nanoseconds ParseInterval(const std::string& text) {
  const auto wrong = [&] {
    return Error(ErrorKind::kUsage, "--interval " + Quoted(text) + " is not a time",
                 "give one like 5s, 500ms or 1m30s");
  };
  double sum = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const bool first = rest.size() == text.size();
    const auto number = TakeNumber(rest);
    const std::string_view unit = rest.substr(0, std::min(rest.find_first_of("0123456789."), rest.size()));
    rest.remove_prefix(unit.size());
    const auto* const known = std::ranges::find(kUnits, first && unit.empty() ? "s" : unit, &Unit::name);
    if (!number || known == std::end(kUnits))
      throw wrong();
    sum += *number * known->nanoseconds;
  }
  if (!(sum >= 1 && sum <= kMaxInterval))
    throw wrong();
  return std::chrono::nanoseconds(static_cast<int64_t>(sum));
}

void Sleep(std::chrono::nanoseconds time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const timespec rest = {static_cast<time_t>(seconds.count()), static_cast<long>((time - seconds).count())};
  nanosleep(&rest, nullptr);
}

struct Listed {
  runner::ContainerState state;
  runner::Status status;
};

// One that goes away meanwhile is not listed.
std::vector<Listed> LoadAll(const runner::RuntimeOptions& runtime) {
  std::vector<Listed> out;
  for (const std::string& id : runner::ContainerDir::List(runtime.root)) {
    try {
      const auto dir = runner::ContainerDir::Open(runtime.root, id);
      runner::ContainerState state = dir.Load();
      const runner::Status status = dir.StatusOf(state);
      out.push_back({std::move(state), status});
    } catch (const Error&) {
      continue;
    }
  }
  return out;
}

// ps(1) of the machine, reduced to `members`: the second column of its -ef is the number.
void PrintPs(const std::vector<pid_t>& members, std::vector<std::string> arguments) {
  if (arguments.empty())
    arguments = {"-ef"};
  arguments.insert(arguments.begin(), "ps");
  const std::string text = RunCaptured(arguments, {}, kMaxPsBytes).output;
  const std::set<std::string> wanted = [&] {
    std::set<std::string> out;
    for (const pid_t pid : members) out.insert(std::to_string(pid));
    return out;
  }();
  size_t column = std::string::npos;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    std::vector<std::string> words;
    for (size_t at = line.find_first_not_of(' '); at != std::string::npos;) {
      const size_t stop = std::min(line.find(' ', at), line.size());
      words.push_back(line.substr(at, stop - at));
      at = line.find_first_not_of(' ', stop);
    }
    if (begin == 0) {
      column = static_cast<size_t>(std::ranges::find(words, "PID") - words.begin());
      if (column == words.size())
        throw Error(ErrorKind::kUsage, "ps prints no column 'PID' with these arguments");
      std::printf("%s\n", line.c_str());
    } else if (column < words.size() && wanted.contains(words[column])) {
      std::printf("%s\n", line.c_str());
    }
    begin = end + 1;
  }
}

}  // namespace

void AddListOptions(CLI::App& command, OciShowOptions& options) {
  AddFormat(command, options);
  command.add_flag("-q,--quiet", options.quiet, "only the ids");
}

void AddPsOptions(CLI::App& command, OciShowOptions& options) {
  AddFormat(command, options);
  // From the first that is no option on all belongs to ps(1).
  command.prefix_command();
  command.footer("gantry-oci ps [OPTIONS] ID [ARGS for ps(1), which are -ef by default...]");
}

void AddEventsOptions(CLI::App& command, OciShowOptions& options) {
  command.add_flag("--stats", options.once, "once, and end");
  command.add_option("--interval", options.interval, "between two lines; default: 5s")->type_name("TIME");
}

void AddSpecOptions(CLI::App& command, OciShowOptions& options) {
  command.add_option("-b,--bundle", options.bundle, "where to write it; default: the working directory")
      ->type_name("DIR");
  command.add_flag("--rootless", options.rootless, "for a user who is not root");
}

int ShowState(const runner::RuntimeOptions& runtime, const std::string& id) {
  const auto dir = runner::ContainerDir::Open(runtime.root, id);
  const runner::ContainerState state = dir.Load();
  std::fputs(json::PrintPretty(state.Print(dir.StatusOf(state), state.pid)).c_str(), stdout);
  return 0;
}

int ShowList(const runner::RuntimeOptions& runtime, const OciShowOptions& options) {
  const std::vector<Listed> all = LoadAll(runtime);
  if (options.format == "json") {
    json::Array out;
    for (const Listed& one : all) out.push_back(one.state.Print(one.status, one.state.pid));
    PrintLine(out);
    return 0;
  }
  Table table({"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"});
  for (const Listed& one : all) {
    if (options.quiet)
      std::printf("%s\n", one.state.id.c_str());
    const pid_t pid = one.status == runner::Status::kStopped ? 0 : one.state.pid;
    table.Add({one.state.id, std::to_string(pid), ToString(one.status), one.state.bundle, one.state.created,
               one.state.owner});
  }
  if (!options.quiet)
    std::fputs(table.ToString().c_str(), stdout);
  return 0;
}

int ShowProcesses(const runner::RuntimeOptions& runtime, std::vector<std::string> operands,
                  const OciShowOptions& options) {
  const std::string id = TakeContainer(operands, "gantry-oci ps [OPTIONS] ID [ARGS...]");
  const runner::ContainerState state = runner::ContainerDir::Open(runtime.root, id).Load();
  std::vector<pid_t> members = state.cgroup.Processes();
  if (members.empty() && state.Alive())
    members.push_back(state.pid);
  if (options.format == "json") {
    json::Array out;
    for (const pid_t pid : members) out.emplace_back(static_cast<int64_t>(pid));
    PrintLine(out);
  } else {
    PrintPs(members, std::move(operands));
  }
  return 0;
}

int ShowEvents(const runner::RuntimeOptions& runtime, const std::string& id, const OciShowOptions& options) {
  const auto dir = runner::ContainerDir::Open(runtime.root, id);
  const runner::ContainerState state = dir.Load();
  if (!state.Alive())
    throw Error(ErrorKind::kFailed, "container not running: " + Quoted(id) + " is stopped");
  const std::chrono::nanoseconds interval = ParseInterval(options.interval);
  uint64_t killed = runner::OomKills(state.cgroup);
  for (;;) {
    PrintLine(json::Object{{"type", "stats"}, {"id", id}, {"data", runner::ReadStats(state.cgroup)}});
    if (options.once)
      return 0;
    // Looked at every second, for what happens between two lines.
    for (auto left = interval; left.count() > 0; left -= std::min<std::chrono::nanoseconds>(left, kLook)) {
      Sleep(std::min<std::chrono::nanoseconds>(left, kLook));
      if (!state.Alive())
        return 0;
      if (const uint64_t now = runner::OomKills(state.cgroup); now > killed) {
        killed = now;
        PrintLine(json::Object{{"type", "oom"}, {"id", id}});
      }
    }
  }
}

int ShowFeatures() {
  std::fputs(json::PrintPretty(runner::Features()).c_str(), stdout);
  return 0;
}

int WriteSpec(const OciShowOptions& options) {
  const std::string path = options.bundle + "/config.json";
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd && errno == EEXIST)
    throw Error(ErrorKind::kUsage, Quoted(path) + " is there already", "move it away first");
  if (!fd)
    ThrowErrno("make " + Quoted(path));
  WriteFull(fd.get(), AsBytes(json::PrintPretty(runner::DefaultSpec(options.rootless))), path);
  return 0;
}

}  // namespace gantry::tools
