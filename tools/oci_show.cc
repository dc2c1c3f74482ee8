#include "tools/oci_show.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/process.h"
#include "runner/cgroup_stats.h"
#include "runner/container_state.h"
#include "runner/features.h"
#include "tools/table.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxPsBytes = 16 * 1024 * 1024;

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
  command.add_option("ARGS", options.ps_arguments, "for ps(1); default: -ef");
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

int ShowProcesses(const runner::RuntimeOptions& runtime, const std::string& id, const OciShowOptions& options) {
  const runner::ContainerState state = runner::ContainerDir::Open(runtime.root, id).Load();
  std::vector<pid_t> members = state.cgroup.Processes();
  if (members.empty() && state.Alive())
    members.push_back(state.pid);
  if (options.format == "json") {
    json::Array out;
    for (const pid_t pid : members) out.emplace_back(static_cast<int64_t>(pid));
    PrintLine(out);
  } else {
    PrintPs(members, options.ps_arguments);
  }
  return 0;
}

int ShowEvents(const runner::RuntimeOptions& runtime, const std::string& id, const OciShowOptions& options) {
  const auto dir = runner::ContainerDir::Open(runtime.root, id);
  const runner::ContainerState state = dir.Load();
  if (!state.Alive())
    throw Error(ErrorKind::kFailed, "container not running: " + Quoted(id) + " is stopped");
  const uint64_t interval = std::max<uint64_t>(ParseSeconds(options.interval), 1);
  uint64_t killed = runner::OomKills(state.cgroup);
  for (;;) {
    PrintLine(json::Object{{"type", "stats"}, {"id", id}, {"data", runner::ReadStats(state.cgroup)}});
    if (options.once)
      return 0;
    for (uint64_t second = 0; second < interval; ++second) {
      sleep(1);
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
