// The system calls that containers may make by default, as a table.
//
// An allow list with the meaning of the one that Docker and podman use (moby, profiles/seccomp/default.json) for the
// capabilities of config.h: images that run there run here. What is not in it fails with EPERM; what this table is too
// old to know (numbers above kNewestKnown) with ENOSYS, so that programs take their fall-back. The build compiles it to
// BPF (seccomp_generator.cc); tests compare the compiled filter with this table.
#pragma once

#include <cstdint>
#include <span>

namespace gantry::runner {

enum class SyscallRule {
  kAllow,
  kNoSys,  // ENOSYS: looks absent
  // Allowed by its arguments, see seccomp_generator.cc:
  kClone,        // not with a CLONE_NEW* flag
  kSocket,       // of kFamilies
  kPersonality,  // only Linux, its 32-bit kin, and the query
};

struct SyscallEntry {
  const char* name;
  SyscallRule rule;
  int number = -1;  // for calls newer than the libseccomp that may build this; the same on all architectures
};

std::span<const SyscallEntry> DefaultProfile();

constexpr int kNewestKnown = 469;  // file_setattr, Linux 6.17

// The families up to AF_MCTP but AF_ALG (38) and AF_VSOCK (40), as what they are under a mask: the kernel looks at the
// lower half of what is a whole register to a filter, in which AF_ALG with a bit above is a large number.
struct SocketFamilies {
  uint64_t mask, value;
};
constexpr SocketFamilies kFamilies[] = {{0xFFFFFFE0, 0},  {0xFFFFFFFC, 32}, {0xFFFFFFFE, 36}, {0xFFFFFFFF, 39},
                                        {0xFFFFFFFF, 41}, {0xFFFFFFFE, 42}, {0xFFFFFFFE, 44}};

// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
constexpr uint64_t kCloneNamespaceFlags = 0x7E020000;

}  // namespace gantry::runner
