// gantry-generate: files for other programs that start pods; a unit file for systemd.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/pod_record.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

constexpr unsigned kMoreThanStop = 5;  // seconds

// In settings of one value, as in all of them, '%' begins a specifier.
std::string Doubled(const std::string& text, char doubled) {
  std::string out;
  for (const char c : text) out += std::string(c == doubled ? 2 : 1, c);
  return out;
}

// A word as systemd.syntax(7) reads it.
std::string Word(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@+";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos)
    return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '%')
      out += c;  // doubled, it is itself
    else if (c == '"' || c == '\\')
      out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + "\"";
}

std::string Unit(const runner::PodRecord& pod, const CommonOptions& common) {
  const runner::PodPlan& plan = pod.plan();
  if (plan.command.empty() || plan.command.front() == "prepare")
    throw Error(ErrorKind::kUnsupported, "pod " + pod.uuid() + " was not made by one command that runs it",
                "start it with: gantry run --detach");
  // Which systemd takes as it stands, to the end of the line.
  if (plan.directory.find_first_of("\n\r") != std::string::npos || plan.directory.ends_with('\\'))
    throw Error(ErrorKind::kUnsupported, "a unit cannot name the directory " + Quoted(plan.directory),
                "run the pod from another one");
  std::string apps;
  unsigned seconds = 0;
  for (const runner::AppPlan& app : plan.apps) {
    apps += " " + app.name;
    seconds = std::max(seconds, app.config.stop_seconds);
  }
  std::string out = "# Made by gantry generate systemd of pod " + pod.uuid() + "\n[Unit]\nDescription=gantry pod of" +
                    apps +
                    "\nWants=network-online.target\nAfter=network-online.target\n\n[Service]\nType=notify\n"
                    "NotifyAccess=all\nKillMode=mixed\nTimeoutStopSec=" +
                    std::to_string(seconds + kMoreThanStop) + "\nRestart=on-failure\n";
  if (geteuid() == 0)
    out += "Delegate=yes\n";
  out += "WorkingDirectory=" + Doubled(plan.directory, '%') +
         "\nEnvironment=" + Word("GANTRY_ROOT=" + StoreRoot(common)) + "\n";
  if (const char* policy = std::getenv("GANTRY_POLICY"); policy != nullptr)
    out += "Environment=" + Word(std::string("GANTRY_POLICY=") + policy) + "\n";
  // What systemd starts again it is not to keep each time.
  out += "ExecStart=" + Word(ProgramDirectory() + "/gantry-run") + " --rm";
  for (const std::string& word : plan.command) out += " " + Word(Doubled(word, '$'));
  return out + "\n\n[Install]\nWantedBy=" + (geteuid() == 0 ? "multi-user.target" : "default.target") + "\n";
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Write files by which other programs start pods.", "gantry-generate");
  CommonOptions common;
  AddCommonOptions(app, common);
  app.require_subcommand(1);
  app.fallthrough();
  CLI::App* systemd = app.add_subcommand("systemd", "print a unit file that runs what a pod runs");
  std::string pod;
  bool json = false;
  systemd->add_option("POD", pod, "its UUID, or the beginning of it, or the name of its app")->required();
  systemd->add_flag("--json", json, "print JSON: the unit as a text");
  return ToolMain(app, argc, argv, [&] {
    const std::string root = StoreRoot(common);
    Confine(common, {.read = {root, "/proc"}, .unix_sockets = false});
    const std::string unit = Unit(gantry::runner::FindPod(gantry::Dir::Open(root + "/pods"), pod), common);
    if (json)
      std::printf("%s\n", gantry::json::Print(gantry::json::Object{{"unit", unit}}).c_str());
    else
      std::fputs(unit.c_str(), stdout);
    return 0;
  });
}
