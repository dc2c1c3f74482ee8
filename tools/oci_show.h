// Commands of gantry-oci that look: state, list, ps, events, features, spec.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "runner/bundle_container.h"

namespace gantry::tools {

struct OciShowOptions {
  std::string format = "table";
  bool quiet = false;
  bool once = false;
  std::string interval = "5s";
  std::string bundle = ".";
  bool rootless = false;
};

void AddListOptions(CLI::App& command, OciShowOptions& options);
void AddPsOptions(CLI::App& command, OciShowOptions& options);
void AddEventsOptions(CLI::App& command, OciShowOptions& options);
void AddSpecOptions(CLI::App& command, OciShowOptions& options);

// Each prints, and returns the exit code.
int ShowState(const runner::RuntimeOptions& runtime, const std::string& id);
int ShowList(const runner::RuntimeOptions& runtime, const OciShowOptions& options);
// `operands`: the container, then arguments for ps(1).
int ShowProcesses(const runner::RuntimeOptions& runtime, std::vector<std::string> operands,
                  const OciShowOptions& options);
int ShowEvents(const runner::RuntimeOptions& runtime, const std::string& id, const OciShowOptions& options);
int ShowFeatures();
int WriteSpec(const OciShowOptions& options);

}  // namespace gantry::tools
