// Containers of bundles: what the commands of an OCI runtime do (runtime-spec, "Operations"; gantry-oci(8)).
//
// A container is a directory (container_state.h), a first process, and its control groups. Each function here is one
// command, from one short-lived process: no daemon holds anything. They are for single-threaded callers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/container_state.h"
#include "runner/spec.h"

namespace gantry::runner {

using Notes = std::function<void(const std::string&)>;  // warnings: what was asked for and is not so

struct RuntimeOptions {
  std::string root;  // of the state of all containers
  bool systemd_cgroup = false;
  bool no_cgroups = false;       // the container stays in the caller's
  std::optional<bool> rootless;  // absent: found out
  Notes note = [](const std::string&) {};
};

// Where the caller wants the process's terminal, number and descriptors.
struct ProcessOptions {
  std::string pid_file;        // empty: none
  std::string console_socket;  // empty: none
  std::string pidfd_socket;    // whose listener gets a pidfd of the process; empty: none
  unsigned preserve_fds = 0;
  bool detach = false;
};

struct CreateOptions {
  std::string id;
  std::string bundle = ".";
  std::string config;  // empty: config.json in the bundle
  ProcessOptions process;
  bool no_pivot = false;
  bool no_new_keyring = false;
  bool keep = false;  // `run` leaves the state of what has ended
};

struct ExecOptions {
  std::string id;
  SpecProcess process;  // whole
  ProcessOptions options;
  std::string cgroup;  // one below the container's: BundleCgroup::Descend
  bool ignore_paused = false;
};

// Sets the container up; its first process waits for Start. When it throws, nothing of the container is left.
void Create(const RuntimeOptions& runtime, const CreateOptions& options);

// Lets it go on. Returns when the program of the bundle is executed; throws when it could not be.
void Start(const RuntimeOptions& runtime, const std::string& id);

// Create and Start in one; unless detached, until the process has ended.
ExitStatus Run(const RuntimeOptions& runtime, const CreateOptions& options);

// One more process in a running container, with all the confinement of its first.
ExitStatus Exec(const RuntimeOptions& runtime, const ExecOptions& options);

// The process that `exec` without --process starts from: that of the configuration.
SpecProcess ConfiguredProcess(const RuntimeOptions& runtime, const std::string& id);

// kFailed "container not running" when there is nobody to hear it. `all`: every process of its control groups.
void Kill(const RuntimeOptions& runtime, const std::string& id, int signal, bool all);

// Removes a container that has ended or was never started; with `force` any, and none is no error.
void Delete(const RuntimeOptions& runtime, const std::string& id, bool force);

void Pause(const RuntimeOptions& runtime, const std::string& id, bool pause);
void Update(const RuntimeOptions& runtime, const std::string& id, const SpecResources& resources);

}  // namespace gantry::runner
