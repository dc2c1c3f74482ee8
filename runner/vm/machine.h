// The command line of the machine: QEMU's microvm with nothing in it but what the guest uses.
#pragma once

#include <string>
#include <vector>

#include "runner/vm/accelerator.h"

namespace gantry::runner::vm {

// Descriptors of the machine's process.
constexpr int kChannelFd = 3;  // a connected socket: the guest's port
constexpr int kConsoleFd = 4;  // what the guest's serial line says is written to it
constexpr int kRootFd = 5;     // root images, for reading; then connections to the volumes' servers; then tap devices

// Files as the machine's process finds them.
constexpr const char kKernelPath[] = "/boot/kernel";
constexpr const char kInitramfsPath[] = "/boot/initramfs";

struct Machine {
  std::string program;  // of QEMU
  Accelerator accelerator = Accelerator::kTcg;
  unsigned long tsc_khz = 0;  // what an emulated guest's clock is told; 0: it measures
  uint64_t memory_mib = 0;
  unsigned cpus = 1;
  size_t roots = 1;
  size_t shares = 0;              // volumes
  std::vector<std::string> macs;  // of the network devices
};

// The path of QEMU; kUnsupported when it is not installed.
std::string FindMachineProgram();

// How long the guest's init may take until it speaks.
int BootSeconds(Accelerator accelerator);

// kUnsupported for more devices than the board has room for.
void RequireRoom(const Machine& machine);

std::vector<std::string> MachineArguments(const Machine& machine);

// The kernel's command line.
std::string KernelArguments(const Machine& machine);

}  // namespace gantry::runner::vm
