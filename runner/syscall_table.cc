#include "runner/syscall_table.h"

#include <linux/audit.h>

namespace gantry::runner {
namespace {

#include "syscall_table.inc"

#if defined(__x86_64__)
constexpr SyscallArchitecture kArchitectures[] = {
    {"SCMP_ARCH_X86_64", AUDIT_ARCH_X86_64, kNative},
    {"SCMP_ARCH_X86", AUDIT_ARCH_I386, kCompat, 0, true},
    {"SCMP_ARCH_X32", AUDIT_ARCH_X86_64, kX32, 0x40000000},
};
#elif defined(__aarch64__)
constexpr SyscallArchitecture kArchitectures[] = {
    {"SCMP_ARCH_AARCH64", AUDIT_ARCH_AARCH64, kNative},
    {"SCMP_ARCH_ARM", AUDIT_ARCH_ARM, kCompat},
};
#elif defined(__riscv) && __riscv_xlen == 64
constexpr SyscallArchitecture kArchitectures[] = {{"SCMP_ARCH_RISCV64", AUDIT_ARCH_RISCV64, kNative}};
#else
#error "add this architecture's name and AUDIT_ARCH_ number"
#endif

}  // namespace

std::span<const SyscallArchitecture> SyscallArchitectures() { return kArchitectures; }

}  // namespace gantry::runner
