#include "runner/seccomp.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libimage/base/process.h"
#include "runner/seccomp_profile.h"
#include "tests/support/bpf.h"

namespace gantry::runner {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#endif
constexpr uint32_t kErrnoPerm = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kErrnoNoSys = SECCOMP_RET_ERRNO | ENOSYS;

uint32_t Decide(long number, uint64_t first = 0, uint32_t arch = kArch) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = arch;
  data.args[0] = first;
  return gantry::testing::Decide(DefaultFilter(), data);
}

TEST(SeccompTest, AllowsWhatOrdinaryProgramsDo) {
  for (const long number : {SYS_read, SYS_write, SYS_openat, SYS_execve, SYS_mmap, SYS_futex, SYS_wait4, SYS_statx,
                            SYS_getrandom, SYS_rseq, SYS_faccessat2, SYS_setresuid, SYS_capset, SYS_chroot, SYS_ptrace,
                            SYS_close_range, SYS_landlock_create_ruleset, 452, 462})
    EXPECT_EQ(Decide(number), SECCOMP_RET_ALLOW) << number;
}

TEST(SeccompTest, RefusesWhatReachesTheHost) {
  for (const long number : {SYS_mount,
                            SYS_umount2,
                            SYS_unshare,
                            SYS_setns,
                            SYS_pivot_root,
                            SYS_bpf,
                            SYS_perf_event_open,
                            SYS_keyctl,
                            SYS_add_key,
                            SYS_request_key,
                            SYS_userfaultfd,
                            SYS_io_uring_setup,
                            SYS_io_uring_enter,
                            SYS_io_uring_register,
                            SYS_init_module,
                            SYS_finit_module,
                            SYS_delete_module,
                            SYS_kexec_load,
                            SYS_reboot,
                            SYS_swapon,
                            SYS_open_by_handle_at,
                            SYS_syslog,
                            SYS_quotactl,
                            SYS_settimeofday,
                            SYS_fsopen,
                            SYS_move_mount,
                            SYS_open_tree,
                            SYS_mount_setattr,
                            SYS_acct})
    EXPECT_EQ(Decide(number), kErrnoPerm) << number;
}

TEST(SeccompTest, CloneMayNotMakeNamespaces) {
  EXPECT_EQ(Decide(SYS_clone, SIGCHLD), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Decide(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD), SECCOMP_RET_ALLOW);
  for (const uint64_t flag : std::initializer_list<uint64_t>{CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                                             CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET})
    EXPECT_EQ(Decide(SYS_clone, flag | SIGCHLD), kErrnoPerm) << flag;
  EXPECT_EQ(Decide(SYS_clone3), kErrnoNoSys);
}

TEST(SeccompTest, SocketsOfOddFamiliesAreRefused) {
  // The kernel looks at the lower half only.
  for (const uint64_t above : {uint64_t{0}, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0} << 32}) {
    for (uint64_t family = 0; family < 64; ++family) {
      // AF_ALG (CVE-2026-31431), AF_VSOCK, and what there is not yet.
      const bool may = family != 38 && family != 40 && family <= 45;
      EXPECT_EQ(Decide(SYS_socket, above | family), may ? SECCOMP_RET_ALLOW : kErrnoPerm) << family;
    }
    EXPECT_EQ(Decide(SYS_socket, above | 0xFFFFFFFF), kErrnoPerm);
  }
}

TEST(SeccompTest, PersonalityOnlyChoosesLinux) {
  for (const uint64_t persona : {0x0UL, 0x8UL, 0x20000UL, 0x20008UL, 0xFFFFFFFFUL})
    EXPECT_EQ(Decide(SYS_personality, persona), SECCOMP_RET_ALLOW) << persona;
  for (const uint64_t persona : {0x0040000UL, 0x0100000UL, 0x1UL, 0x400000000UL})
    EXPECT_EQ(Decide(SYS_personality, persona), kErrnoPerm) << persona;
}

TEST(SeccompTest, NumbersNewerThanTheProfileLookAbsent) {
  EXPECT_EQ(Decide(kNewestKnown + 1), kErrnoNoSys);
  EXPECT_EQ(Decide(5000), kErrnoNoSys);
  EXPECT_EQ(Decide(kNewestKnown), kErrnoPerm);
}

TEST(SeccompTest, OtherAbisAreKilled) {
  EXPECT_EQ(Decide(SYS_read, 0, 0x40000003 /* i386 */), SECCOMP_RET_KILL_PROCESS);
#if defined(__x86_64__)
  EXPECT_EQ(Decide(0x40000000 | SYS_read), SECCOMP_RET_KILL_PROCESS);
#endif
}

TEST(SeccompTest, TheKernelTakesTheFilterAndAgrees) {
  const int code = Process::Fork([] {
                     const auto filter = DefaultFilter();
                     const sock_fprog program = {static_cast<unsigned short>(filter.size()),
                                                 const_cast<sock_filter*>(filter.data())};
                     if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
                         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
                       return 10;
                     if (unshare(CLONE_NEWUTS) == 0 || errno != EPERM)
                       return 11;
                     if (syscall(SYS_clone3, nullptr, 0) == 0 || errno != ENOSYS)
                       return 12;
                     if (socket(38, SOCK_SEQPACKET, 0) >= 0 || errno != EPERM)
                       return 13;
                     if (syscall(900) == 0 || errno != ENOSYS)
                       return 14;
                     return getpid() > 0 ? 0 : 15;
                   })
                       .Wait()
                       .code;
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace gantry::runner
