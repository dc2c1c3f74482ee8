// The system calls of the architectures whose programs this machine executes, by name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace gantry::runner {

struct SyscallNumber {
  std::string_view name;
  uint32_t number;
};

struct SyscallArchitecture {
  std::string_view name;                 // as a config.json has it: "SCMP_ARCH_X86_64"
  uint32_t audit;                        // AUDIT_ARCH_
  std::span<const SyscallNumber> calls;  // sorted by name
  uint32_t first = 0;                    // numbers begin here: the bit of x32
  bool multiplexed = false;              // has socketcall and ipc
};

// The native architecture first.
std::span<const SyscallArchitecture> SyscallArchitectures();

}  // namespace gantry::runner
