#include "tools/oci_exec.h"

#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/execution.h"
#include "tools/oci_options.h"

namespace gantry::tools {
namespace {

using runner::SpecProcess;

// "UID" or "UID:GID", digits only: a name is looked up in no file of the container's (CVE-2026-30892).
void SetUser(const std::string& text, SpecProcess& process) {
  const size_t colon = text.find(':');
  const auto uid = ParseDecimal<uint32_t>(std::string_view(text).substr(0, colon));
  const auto gid = colon == std::string::npos ? std::optional<uint32_t>(0)
                                              : ParseDecimal<uint32_t>(std::string_view(text).substr(colon + 1));
  if (!uid || !gid || *uid > runner::kMaxSpecId || *gid > runner::kMaxSpecId)
    throw Error(ErrorKind::kUsage, "user " + Quoted(text) + " is not UID or UID:GID", "ids are digits only");
  process.user.uid = *uid;
  process.user.gid = *gid;
}

// "NAME=value" over one of that name.
void SetEnv(const std::string& entry, SpecProcess& process) {
  const size_t equals = entry.find('=');
  if (equals == std::string::npos || equals == 0)
    throw Error(ErrorKind::kUsage, "environment entry " + Quoted(entry) + " is not NAME=VALUE");
  std::erase_if(process.env, [&](const std::string& other) { return other.starts_with(entry.substr(0, equals + 1)); });
  process.env.push_back(entry);
}

void AddCapabilities(const std::vector<std::string>& names, SpecProcess& process) {
  for (const std::string& name : names) {
    const auto capability = runner::ParseCapability(name);
    if (!capability)
      throw Error(ErrorKind::kUsage, "unknown capability " + Quoted(name), "give a name like CAP_NET_RAW");
    const uint64_t bit = uint64_t{1} << *capability;
    process.capabilities.bounding |= bit;
    process.capabilities.effective |= bit;
    process.capabilities.permitted |= bit;
  }
}

SpecProcess FromFlags(const runner::RuntimeOptions& runtime, const std::string& id, const OciExecOptions& options) {
  if (options.args.empty())
    throw Error(ErrorKind::kUsage, "process args cannot be empty", "gantry-oci exec [OPTIONS] ID COMMAND [ARGS...]");
  SpecProcess out = runner::ConfiguredProcess(runtime, id);
  out.args = options.args;
  out.terminal = options.terminal;
  out.console_size.reset();
  if (!options.user.empty())
    SetUser(options.user, out);
  if (!options.groups.empty())
    out.user.groups = options.groups;
  if (!options.cwd.empty()) {
    if (!options.cwd.starts_with('/'))
      throw Error(ErrorKind::kUsage, "working directory " + Quoted(options.cwd) + " is not absolute");
    out.cwd = image::CleanAbsolute(options.cwd);
  }
  for (const std::string& entry : options.env) SetEnv(entry, out);
  AddCapabilities(options.capabilities, out);
  out.no_new_privileges = out.no_new_privileges || options.no_new_privileges;
  if (!options.apparmor.empty())
    out.apparmor_profile = options.apparmor;
  if (!options.selinux.empty())
    out.selinux_label = options.selinux;
  return out;
}

SpecProcess FromFile(const OciExecOptions& options) {
  const std::string text = ReadFile(options.process_file, runner::kMaxSpecBytes);
  const json::Value document = json::Parse(text, options.process_file);
  SpecProcess out = runner::ParseSpecProcess(json::Cursor(document, options.process_file));
  out.terminal = out.terminal || options.terminal;
  return out;
}

}  // namespace

void AddExecOptions(CLI::App& command, OciExecOptions& options) {
  command
      .add_option("-p,--process", options.process_file, "the process, as JSON; else from the configuration and flags")
      ->type_name("FILE");
  command.add_flag("-d,--detach", options.process_options.detach, "do not wait for its end");
  command.add_flag("-t,--tty", options.terminal, "give it a terminal of its own");
  command.add_option("--cwd", options.cwd, "the directory to start in")->type_name("DIR");
  command.add_option("-e,--env", options.env, "set a variable")->type_name("NAME=VALUE")->allow_extra_args(false);
  command.add_option("-u,--user", options.user, "by numbers")->type_name("UID[:GID]");
  command.add_option("-g,--additional-gids", options.groups, "supplementary groups")
      ->type_name("GID")
      ->allow_extra_args(false);
  command.add_option("-c,--cap", options.capabilities, "one more capability")
      ->type_name("CAP")
      ->allow_extra_args(false);
  command.add_flag("--no-new-privs", options.no_new_privileges, "set no_new_privs");
  command.add_option("--apparmor", options.apparmor, "AppArmor profile")->type_name("NAME");
  command.add_option("--process-label", options.selinux, "SELinux label")->type_name("LABEL");
  command.add_option("--cgroup", options.cgroup, "one below the container's that is there")
      ->type_name("[CONTROLLER:]PATH");
  command.add_flag("--ignore-paused", options.ignore_paused, "in a paused container, too");
  AddProcessOptions(command, options.process_options);
  // From the first that is no option on all belongs to the container.
  command.prefix_command();
  command.footer("gantry-oci exec [OPTIONS] ID [COMMAND [ARGS...]]");
}

int ExecInContainer(const runner::RuntimeOptions& runtime, std::vector<std::string> operands, OciExecOptions& options) {
  const std::string id = TakeContainer(operands, "gantry-oci exec [OPTIONS] ID [COMMAND [ARGS...]]");
  options.args = std::move(operands);
  runner::ExecOptions exec;
  exec.id = id;
  exec.process = options.process_file.empty() ? FromFlags(runtime, id, options) : FromFile(options);
  exec.options = options.process_options;
  exec.cgroup = options.cgroup;
  exec.ignore_paused = options.ignore_paused;
  return runner::Exec(runtime, exec).code;
}

}  // namespace gantry::tools
