// Compiles the default profile to BPF when gantry is built, so that starting a container costs no libseccomp (whose
// compile takes longer than all the rest of a start). Prints a C++ initialiser list of sock_filter.
//
// The filter: native architecture only, other ABIs of the machine (i386 and x32 on amd64) kill the process; a binary
// tree over the numbers; in front of it, calls newer than the profile answer ENOSYS.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runner/seccomp_profile.h"

namespace gantry::runner {
namespace {

void Check(int result, const char* what) {
  if (result >= 0)
    return;
  std::fprintf(stderr, "seccomp_generator: %s: %s\n", what, std::strerror(-result));
  std::exit(1);
}

void AddByArguments(scmp_filter_ctx filter, int number, SyscallRule rule) {
  // Not by SCMP_A0, whose compound literal is not C++.
  const auto allow = [&](scmp_compare comparison, scmp_datum_t datum, scmp_datum_t masked = 0) {
    const scmp_arg_cmp condition = {0, comparison, datum, masked};
    Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, condition), "add a rule with arguments");
  };
  switch (rule) {
    case SyscallRule::kClone:
      // s390 has the flags in the second argument; it is not a machine of ours.
      allow(SCMP_CMP_MASKED_EQ, kCloneNamespaceFlags, 0);
      break;
    case SyscallRule::kSocket:
      for (const SocketFamilies& some : kFamilies) allow(SCMP_CMP_MASKED_EQ, some.mask, some.value);
      break;
    case SyscallRule::kPersonality:
      for (const uint64_t persona : {0x0UL, 0x8UL, 0x20000UL, 0x20008UL, 0xFFFFFFFFUL}) allow(SCMP_CMP_EQ, persona);
      break;
    default:
      break;
  }
}

void AddRule(scmp_filter_ctx filter, const SyscallEntry& entry) {
  int number = seccomp_syscall_resolve_name(entry.name);
  if (number == __NR_SCMP_ERROR || number < 0)
    number = entry.number;
  if (number < 0)
    return;  // not a call of this architecture
  if (entry.rule == SyscallRule::kAllow)
    Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0), entry.name);
  else if (entry.rule == SyscallRule::kNoSys)
    Check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0), entry.name);
  else
    AddByArguments(filter, number, entry.rule);
}

std::vector<sock_filter> Export(scmp_filter_ctx filter) {
  FILE* file = std::tmpfile();
  if (file == nullptr)
    Check(-errno, "make a temporary file");
  Check(seccomp_export_bpf(filter, fileno(file)), "compile");
  const long bytes = lseek(fileno(file), 0, SEEK_END);
  std::vector<sock_filter> out(static_cast<size_t>(bytes) / sizeof(sock_filter));
  std::rewind(file);
  if (std::fread(out.data(), sizeof(sock_filter), out.size(), file) != out.size())
    Check(-EIO, "read the program back");
  std::fclose(file);
  return out;
}

// Numbers in (kNewestKnown, x32 bit) answer ENOSYS; everything else goes on to libseccomp's program, whose jumps are
// relative and do not mind. The architecture is checked first: numbers mean nothing without it.
std::vector<sock_filter> WithNewerCalls(const std::vector<sock_filter>& program) {
  const auto token = seccomp_arch_native();
  std::vector<sock_filter> out = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, token, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, kNewestKnown, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  out.insert(out.end(), program.begin(), program.end());
  return out;
}

int Main() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == nullptr)
    Check(-ENOMEM, "init");
  Check(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "set the action for other ABIs");
  Check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2), "choose the binary tree");
  for (const SyscallEntry& entry : DefaultProfile()) AddRule(filter, entry);
  for (const sock_filter& step : WithNewerCalls(Export(filter)))
    std::printf("{%u, %u, %u, 0x%x},\n", step.code, step.jt, step.jf, step.k);
  seccomp_release(filter);
  return 0;
}

}  // namespace
}  // namespace gantry::runner

int main() { return gantry::runner::Main(); }
