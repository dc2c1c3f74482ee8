#include "tools/oci_options.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/model/execution.h"
#include "runner/bundle_plan.h"
#include "tools/tool_main.h"

namespace gantry::tools {

void AddOciOptions(CLI::App& app, OciOptions& options) {
  app.add_option("--root", options.root, "where the state of containers is kept")->type_name("DIR");
  app.add_option("--log", options.log, "a file that errors and warnings are also written to")->type_name("FILE");
  app.add_option("--log-format", options.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("text|json")
      ->option_text("text|json");
  app.add_flag("--debug", options.debug, "accepted: there is no more to say");
  app.add_flag("--systemd-cgroup", options.systemd_cgroup, "have systemd make the control groups");
  app.add_option("--cgroup-manager", options.cgroup_manager, "cgroupfs (the default), systemd, or disabled: no groups")
      ->check(CLI::IsMember({"cgroupfs", "systemd", "disabled"}))
      ->type_name("cgroupfs|systemd|disabled")
      ->option_text("cgroupfs|systemd|disabled");
  app.add_option("--rootless", options.rootless, "whether to do without control groups that may not be made")
      ->check(CLI::IsMember({"auto", "true", "false"}))
      ->type_name("auto|true|false")
      ->option_text("auto|true|false");
}

std::string OciRoot(const OciOptions& options) {
  if (!options.root.empty())
    return options.root;
  if (runner::IsHostRoot())
    return "/run/gantry-oci";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || *runtime != '/')
    throw Error(ErrorKind::kUsage, "there is no directory for the state of containers: XDG_RUNTIME_DIR is not set",
                "give --root DIR");
  return std::string(runtime) + "/gantry-oci";
}

runner::RuntimeOptions RuntimeOptionsOf(const OciOptions& options) {
  runner::RuntimeOptions out;
  out.root = OciRoot(options);
  out.systemd_cgroup = options.systemd_cgroup || options.cgroup_manager == "systemd";
  out.no_cgroups = options.cgroup_manager == "disabled";
  if (out.no_cgroups && options.systemd_cgroup)
    throw Error(ErrorKind::kUsage, "--systemd-cgroup and --cgroup-manager=disabled exclude each other");
  if (options.rootless != "auto")
    out.rootless = options.rootless == "true";
  out.note = [&options](const std::string& text) {
    Warn({}, text);
    WriteLog(options, "warning", text);
  };
  return out;
}

void WriteLog(const OciOptions& options, std::string_view level, std::string_view text) {
  if (options.log.empty())
    return;
  const UniqueFd fd(open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644));
  if (!fd)
    return;  // what there was to say is on stderr
  const time_t now = time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 64> when{};
  strftime(when.data(), when.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  const json::Object fields{{"level", level}, {"msg", text}, {"time", when.data()}};
  std::string line = options.log_format == "json"
                         ? json::Print(fields)
                         : "time=\"" + std::string(when.data()) + "\" level=" + std::string(level) +
                               " msg=" + json::Print(json::Value(text));
  line += '\n';
  if (write(fd.get(), line.data(), line.size()) < 0)
    return;
}

void AddProcessOptions(CLI::App& command, runner::ProcessOptions& options) {
  command.add_option("--pid-file", options.pid_file, "write the number of the process there")->type_name("FILE");
  command.add_option("--console-socket", options.console_socket, "send the terminal to who listens there")
      ->type_name("SOCKET");
  command.add_option("--pidfd-socket", options.pidfd_socket, "send a pidfd of the process to who listens there")
      ->type_name("SOCKET");
  command.add_option("--preserve-fds", options.preserve_fds, "give the process this many of our descriptors from 3 on")
      ->type_name("N");
}

std::string TakeContainer(std::vector<std::string>& operands, const std::string& usage) {
  if (operands.empty() || operands.front().starts_with('-'))
    throw Error(ErrorKind::kUsage,
                operands.empty() ? "no container is named" : "unknown option " + Quoted(operands.front()), usage);
  std::string id = std::move(operands.front());
  operands.erase(operands.begin());
  if (!operands.empty() && operands.front() == "--")
    operands.erase(operands.begin());
  return id;
}

int SignalNamed(const std::string& text) {
  if (const auto number = ParseDecimal<int>(text); number && *number <= 64)
    return *number;
  const auto number = image::ParseSignal(text);
  if (!number)
    throw Error(ErrorKind::kUsage, "unknown signal " + Quoted(text), "give a name like KILL or SIGKILL, or a number");
  return *number;
}

}  // namespace gantry::tools
