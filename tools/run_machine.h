// --isolation=vm of gantry-run: a pod in a virtual machine of its own.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "runner/vm/virtual_machine.h"
#include "tools/tool_main.h"

namespace gantry::tools {

struct PodOptions;

// As given; TakeIsolation makes a value of it.
struct IsolationOptions {
  std::string isolation, accelerator;
  runner::vm::MachineOptions machine;
};

void AddIsolationOptions(CLI::App& app, IsolationOptions& options);

// The machine; nullopt for namespaces. kUsage for options of machines without one.
std::optional<runner::vm::MachineOptions> TakeIsolation(const IsolationOptions& options);

// What the machine is made of. kUnsupported for what pods in namespaces can do and one in a machine cannot, and for
// what this host does not have.
runner::vm::MachineParts RequireMachine(const PodOptions& options);

}  // namespace gantry::tools
