// Prints, when gantry is built, which number each system call has on the architectures that this machine executes:
// initialisers of SyscallNumber (syscall_table.h), each table sorted by name.
#include <seccomp.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

namespace {

constexpr int kMostCalls = 1024;
constexpr uint32_t kX32Bit = 0x40000000;

// Newer than the libseccomp of some distributions; one number everywhere since 4.20.
constexpr std::pair<const char*, int> kNewer[] = {
    {"cachestat", 451},         {"fchmodat2", 452},         {"map_shadow_stack", 453}, {"futex_wake", 454},
    {"futex_wait", 455},        {"futex_requeue", 456},     {"statmount", 457},        {"listmount", 458},
    {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},        {"listxattrat", 465},      {"removexattrat", 466},
    {"open_tree_attr", 467},    {"file_getattr", 468},      {"file_setattr", 469},
};

void PrintTable(const char* variable, uint32_t arch, uint32_t base) {
  std::map<std::string, uint32_t> numbers;
  for (const auto& [name, number] : kNewer) numbers[name] = base + static_cast<uint32_t>(number);
  for (int i = 0; i < kMostCalls; ++i) {
    char* name = seccomp_syscall_resolve_num_arch(arch, static_cast<int>(base) + i);
    if (name != nullptr)
      numbers[name] = base + static_cast<uint32_t>(i);
    std::free(name);
  }
  std::printf("constexpr SyscallNumber %s[] = {\n", variable);
  for (const auto& [name, number] : numbers) std::printf("{\"%s\", %uU},\n", name.c_str(), number);
  std::printf("};\n");
}

}  // namespace

int main() {
  if (seccomp_arch_native() == SCMP_ARCH_X86_64) {
    PrintTable("kNative", SCMP_ARCH_X86_64, 0);
    PrintTable("kCompat", SCMP_ARCH_X86, 0);
    PrintTable("kX32", SCMP_ARCH_X32, kX32Bit);
  } else if (seccomp_arch_native() == SCMP_ARCH_AARCH64) {
    PrintTable("kNative", SCMP_ARCH_AARCH64, 0);
    PrintTable("kCompat", SCMP_ARCH_ARM, 0);
  } else {
    PrintTable("kNative", seccomp_arch_native(), 0);
  }
  return 0;
}
