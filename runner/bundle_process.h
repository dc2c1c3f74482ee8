// One process of a bundle's container: started, spoken with until it is what the bundle says, and waited for or left.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "runner/bundle_container.h"
#include "runner/bundle_plan.h"
#include "runner/console.h"
#include "runner/early_network.h"
#include "runner/init_params.h"
#include "runner/launch.h"
#include "runner/mount_keeper.h"

namespace gantry::runner {

struct ProcessSurroundings {
  const RuntimeOptions& runtime;
  const ProcessOptions& options;
  const ContainerDir* dir;
  ContainerState* state;  // gets the first process
  BundlePlace place = {};
  EarlyNetwork* network = nullptr;         // of `place`, in the making
  std::function<void()> make_groups = {};  // of the state that are still to be made; not without a network
};

class BundleProcess {
 public:
  // The first process, which makes the container's namespaces. With `waits` it then waits to be started (Listen of
  // `around.dir`); else it is the bundle's program when this returns. Writes the state as soon as there is a process.
  static BundleProcess StartNew(const Spec& spec, ProcessSurroundings& around, bool waits);

  // Another, in the namespaces and control groups of the first.
  static BundleProcess StartInside(const Spec& spec, const SpecProcess& process, ProcessSurroundings& around);

  // The same where the container is in a virtual machine (bundle_machine.h): attendants that stand for the processes.
  static BundleProcess StartInMachine(const Spec& spec, ProcessSurroundings& around, bool waits);
  static BundleProcess EnterMachine(const Spec& spec, const SpecProcess& process, ProcessSurroundings& around);

  BundleProcess(BundleProcess&&) noexcept;
  BundleProcess& operator=(BundleProcess&&) = delete;
  ~BundleProcess();  // kills what was neither waited for nor left

  pid_t pid() const { return pid_; }
  void Leave() { pid_ = -1; }
  ExitStatus Wait();

 private:
  BundleProcess() = default;
  void BlockSignals();
  template <typename Setup>
  void Converse(const Setup& setup, const Spec* spec, InitRequest& request, const std::vector<int>& passed,
                ProcessSurroundings& around);
  static std::vector<int> OpenPassed(const Spec& spec, const ProcessSurroundings& around, InitRequest& request,
                                     bool first, std::vector<UniqueFd>& kept);
  void Adopt(Launched launched);
  void LaunchFirst(const Spec& spec, BundleSetup& setup, ProcessSurroundings& around);
  void SendParams(InitRequest& request, const std::vector<int>& passed);
  void MapIds(const Spec& spec, const ProcessSurroundings& around);
  void Attend(const ProcessSurroundings& around, const SpecProcess& process, const std::string& verb, UniqueFd input);
  void HandOver(const ProcessSurroundings& around, const SpecProcess& process);

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd socket_;
  bool sent_ = false;  // the parameters
  UniqueFd master_;
  std::unique_ptr<Console> console_;
  std::optional<MountKeeper> mounts_;  // of a process that is waited for
  bool blocked_ = false;
  sigset_t mask_before_{};
};

// Runs hooks in the runtime's namespaces, in order. With `must`, the first that fails throws; else all run, and what
// went wrong is returned.
std::vector<std::string> RunRuntimeHooks(const std::vector<SpecHook>& hooks, const std::string& state, bool must);

// Hears from init, over a connection to where it waited, until the program of the bundle is executed; throws when it
// could not be.
void AwaitExecution(int socket, const Spec& spec);

// The number in decimal, all of it or nothing.
void WritePidFile(const std::string& path, pid_t pid);

}  // namespace gantry::runner
