// What executes a command of a build.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "runner/vm/virtual_machine.h"

namespace gantry::tools {

struct Engine {
  enum class Kind { kNamespaces, kChroot, kMachine };
  Kind kind = Kind::kNamespaces;
  runner::vm::MachineOptions machine = {};
};

// As given on the command line.
struct EngineOptions {
  std::string engine = "ns", kernel, accelerator;
};

void AddEngineOptions(CLI::App& app, EngineOptions& options);

// kUnsupported for an engine that there is not, kUsage for options of machines without one.
Engine TakeEngine(const EngineOptions& options);

}  // namespace gantry::tools
