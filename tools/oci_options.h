// Flags of gantry-oci that several of its commands share, and its log.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "runner/bundle_container.h"

namespace gantry::tools {

struct OciOptions {
  std::string root;  // of the state; empty: the user's default
  std::string log;   // file for errors and warnings, beside stderr
  std::string log_format = "text";
  bool debug = false;
  bool systemd_cgroup = false;
  std::string cgroup_manager;
  std::string rootless = "auto";
};

void AddOciOptions(CLI::App& app, OciOptions& options);

// --root, else /run/gantry-oci for root of the machine, $XDG_RUNTIME_DIR/gantry-oci for others. kUsage when there is
// none.
std::string OciRoot(const OciOptions& options);

runner::RuntimeOptions RuntimeOptionsOf(const OciOptions& options);

// Appends one line to the log, if there is one: `level` is "error", "warning"...
void WriteLog(const OciOptions& options, std::string_view level, std::string_view text);

// Flags of a process that is started: pid file, console, descriptors.
void AddProcessOptions(CLI::App& command, runner::ProcessOptions& options);

// The container of a command whose operands after it belong to another program: taken off, with a "--" that follows.
// kUsage when there is none; `usage` says how the command is used.
std::string TakeContainer(std::vector<std::string>& operands, const std::string& usage);

// A signal by number or by name, with or without SIG; kUsage for anything else.
int SignalNamed(const std::string& text);

}  // namespace gantry::tools
