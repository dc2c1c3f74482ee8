// gantry-oci exec: from flags, or a file, to a process.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "runner/bundle_container.h"

namespace gantry::tools {

struct OciExecOptions {
  runner::ProcessOptions process_options;
  std::string process_file;
  std::string user;
  std::vector<uint32_t> groups;
  std::vector<std::string> env;
  std::vector<std::string> capabilities;
  std::string cwd;
  std::string cgroup;
  std::string apparmor;
  std::string selinux;
  bool terminal = false;
  bool no_new_privileges = false;
  bool ignore_paused = false;
  std::vector<std::string> args;
};

void AddExecOptions(CLI::App& command, OciExecOptions& options);

// `operands`: the container, then the command. The exit code of the process; 0 when it is detached.
int ExecInContainer(const runner::RuntimeOptions& runtime, std::vector<std::string> operands, OciExecOptions& options);

}  // namespace gantry::tools
