// The containers of a pod in a virtual machine of its own: what process.h and supervisor.h are for namespaces.
//
// The machine is a confined QEMU (machine.h, confined_program.h) with a kernel of the host's (kernel.h), an initramfs
// of ours (initramfs.h), the layers of each image as a read-only disk (root_image.h), and the pod's network
// (machine_network.h). In it, the guest's init makes the containers as the runner does on a host.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/config.h"
#include "runner/pod.h"
#include "runner/pod_log.h"
#include "runner/supervisor.h"
#include "runner/vm/accelerator.h"
#include "runner/vm/kernel.h"
#include "runner/vm/root_image.h"

namespace gantry::runner::vm {

struct MachineOptions {
  std::string kernel;  // file; empty: found
  std::optional<Accelerator> accelerator;
  int boot_seconds = 0;   // until init must have spoken; 0: 20, emulated 120
  bool verified = false;  // what it starts with is copied into the pod, and its digests are recorded
  // A directory with "upper" and "work", both empty: the first gets what changes in the root, as overlayfs has it with
  // "userxattr". Empty: changes go away with the machine.
  std::string changes = {};
};

// What of the host machines are made of.
struct MachineParts {
  MachineOptions options;
  std::string program;  // of QEMU
  GuestKernel kernel;
  RootMaker root_maker;
};
// kUnsupported or kNotFound for what is not there: before images are fetched, rendered and packed in vain.
MachineParts FindMachineParts(const MachineOptions& options);

// How large the machine is: the limits of memory, of which each is at least 64M, and of processors, added up. An app
// without a limit of memory adds the default, once for all of them.
struct MachineSize {
  uint64_t memory_mib = 512;
  unsigned cpus = 1;
};
MachineSize SizeOf(const std::vector<RunConfig>& configs);  // kUsage for what no machine can have

// kUnsupported with a list of what the apps ask for and a virtual machine cannot give, or not yet; kUsage as SizeOf.
void RequireMachineCan(const std::vector<RunConfig>& configs);

// kUnsupported when this host has no file server or kernel module for what the apps need.
void RequireParts(const std::vector<RunConfig>& configs, const MachineParts& parts);

class VirtualMachine {
 public:
  // As Process::Start, with all apps of `pod`, which must outlive this, and whose roots are `roots` in the same order.
  // `cache` is a directory of the store for what machines share. `detached`: their output goes to the pod's logs and to
  // who attaches, else to our own descriptors. `note` gets warnings.
  static VirtualMachine Start(const MachineParts& parts, std::vector<RootImage> roots, Pod& pod, const Dir& cache,
                              std::optional<LogLimits> detached, const std::function<void(const std::string&)>& note);

  VirtualMachine(VirtualMachine&&) noexcept;
  VirtualMachine& operator=(VirtualMachine&&) = delete;
  ~VirtualMachine();  // ends the machine

  const std::vector<Error>& failures() const;  // why apps were not executed
  const std::string& note() const;
  // As Process::Wait, and with several apps as runner::Supervise; meanwhile others may enter (entry.h). The ends of
  // several and of detached ones are appended to the pod's record. `settled` is called after kSettled, unless processes
  // for health checks have still to be started.
  ExitStatus Wait(const std::function<void()>& settled = {});

 private:
  struct State;
  explicit VirtualMachine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// As runner::Supervise. A machine that fails is recorded to have, and thrown.
ExitStatus Supervise(const MachineParts& parts, std::vector<RootImage> roots, Pod& pod, const Dir& cache,
                     const SuperviseOptions& options);

}  // namespace gantry::runner::vm
