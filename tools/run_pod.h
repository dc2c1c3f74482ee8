// Making pods and running them: fetch what is missing, verify, plan, render, execute.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libimage/model/aci_manifest.h"
#include "runner/config.h"
#include "runner/pod.h"
#include "runner/pod_log.h"
#include "runner/vm/virtual_machine.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {

struct NamedApp {
  std::string image;
  runner::RunOptions run;
  std::vector<std::string> ignored = {};  // what was asked for in vain, for people
  // Of a pod manifest.
  bool substitutes = false;   // what the image says of its app does not count
  std::string image_id = {};  // that the image must have
  std::vector<image::AppcPair> annotations = {};
};

struct PodOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::string platform;
  std::optional<runner::vm::MachineOptions> machine;  // a virtual machine instead of namespaces
  std::string userns;                                 // host, auto or auto:size=N; empty: auto without root, else host
  bool metadata = false;                              // --mds
  runner::LogDriver log_driver = runner::LogDriver::kFile;
  bool json = false;
  bool detach = false;
  bool remove = false;    // --rm
  bool strict = false;    // what would be told and ignored is refused
  std::string uuid_file;  // where the UUID is written
  runner::LogLimits log;
  std::string notify = "runner";             // who tells systemd that the pod is ready: runner, app or none
  std::vector<std::string> command;          // our own words
  std::vector<image::AppcPair> annotations;  // of a pod manifest
};

// Where the pods of the store are: nothing, or kNotFound, before its first one.
std::optional<Dir> TryOpenPods(const CommonOptions& common);
Dir OpenPods(const CommonOptions& common);

// Refuses to copy between a terminal and an input that is none. What reads there would wait for more once the input has
// ended: a terminal has no end, and the ^D that could stand for it counts only while nobody edits lines of his own.
void RequireTerminal(bool terminal, bool interactive);

// Runs the apps in one pod, and returns the code of the command.
int RunApps(const PodOptions& options, const std::vector<NamedApp>& apps);

// Everything but the execution; prints the pod's UUID.
int PrepareApps(const PodOptions& options, const std::vector<NamedApp>& apps);

// A pod that was prepared. The policy decides about its images once more.
// One for a virtual machine takes its options of those, and has a machine in any case.
int RunPrepared(PodOptions options, const std::string& pod);

int PrintConfinements(const PodOptions& options);

}  // namespace gantry::tools
