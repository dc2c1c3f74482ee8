// The options of gantry-run that say how an app is executed: those of docker run and rkt run.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runner/config.h"

namespace gantry::tools {

// As given; Planned makes values of it.
struct AppOptions {
  runner::RunOptions run;
  std::string user, working_dir, entrypoint;
  std::string memory, memory_swap, memory_reservation, cpus, pids, stop_signal;
  std::vector<std::string> env_files, tmpfs, mounts, secrets, devices, security, ulimits, io, groups;
  std::string cpu_shares;
  int oom_score_adj = 0;
  unsigned stop_seconds = 0;
  bool no_health = false, init = false;
};

// Options of one app; given before the first image they count for all. `options` must outlive the parse.
void AddAppOptions(CLI::App& app, AppOptions& options);

// After the parse of `app`. kUsage for what cannot be meant.
runner::RunOptions Planned(const CLI::App& app, const AppOptions& options);

// Reads and compiles the profile of system calls that they name. For the time that something else takes: of an app's
// options it is what takes longest.
void ReadProfile(runner::RunOptions& options);

// What one app of several was given over what all were given: lists follow each other, else its own counts.
runner::RunOptions Over(const runner::RunOptions& all, const runner::RunOptions& own);

// "512m", "2g", "100": bytes. Letters as Docker has them, in steps of 1024.
uint64_t ParseSize(const std::string& text, std::string_view option);

}  // namespace gantry::tools
