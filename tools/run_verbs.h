// The verbs of gantry-run about pods that are there: looking at them, entering, ending and removing them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/json.h"
#include "runner/pod_record.h"
#include "tools/tool_main.h"

namespace gantry::tools {

// What all verbs have. `pods` are as on the command line.
struct VerbOptions {
  const CommonOptions* common = nullptr;
  bool json = false;
  std::vector<std::string> pods;
  std::string uuid_file;  // a pod more, out of a file
  bool any = false;       // those that cannot be read, too
};

// The pods that a verb is about: those named and that of --uuid-file; kUsage for none.
std::vector<runner::PodRecord> NamedPods(const Dir& pods, const VerbOptions& options);
runner::PodRecord NamedPod(const Dir& pods, const VerbOptions& options);  // exactly one

// The app of NamedPod that a verb is about: `app`, that of --app; else the one by whose name the pod is named; else its
// only one.
const runner::AppPlan& MeantApp(const runner::PodRecord& pod, const VerbOptions& options, const std::string& app);

// kFailed unless the app runs; the number of its first process.
pid_t RunningPid(const runner::PodRecord& pod, const std::string& app);

// kUnsupported for a pod in a virtual machine: it cannot be `done`.
void RefuseMachine(const runner::PodRecord& pod, std::string_view done);

void PrintJson(const json::Value& value);

// Each adds its subcommands, and to `actions` what they do. The options live as long as the actions.
struct Action {
  CLI::App* verb;
  std::function<int()> act;
  bool executes = false;  // passes on the code of what it executes: 125 is our own failure, as for run itself
};
void AddShowVerbs(CLI::App& app, const CommonOptions& common,
                  std::vector<Action>& actions);                                            // list status cat-manifest
void AddLogVerb(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions);  // logs
void AddEnterVerbs(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions);  // enter attach
void AddEndVerbs(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions);    // stop rm gc
void AddExportVerb(CLI::App& app, const CommonOptions& common, std::vector<Action>& actions);  // export

// A subcommand with the options of VerbOptions; `operand` is what it takes, empty for nothing.
CLI::App* AddVerb(CLI::App& app, const char* name, const char* help, const char* operand, VerbOptions& options);

}  // namespace gantry::tools
