#include "runner/seccomp_profile.h"

namespace gantry::runner {
namespace {

using enum SyscallRule;

// Not here on purpose, and why:
// - io_uring_*: its requests pass no filter, and it has had more holes than any other interface.
// - bpf, perf_event_open, userfaultfd, lookup_dcookie: code in the kernel, its timing, and pauses in the middle of its
//   copies, which is what exploits are made of.
// - keyctl, add_key, request_key: keyrings are not in a namespace.
// - mount, umount2, pivot_root and their new kin, unshare, setns, clone with CLONE_NEW*: to undo what confines, or to
// get
//   at code of the kernel that else only root reaches.
// - open_by_handle_at: opens any file of a file system, whatever the root is ("shocker").
// - kexec_*, *_module, reboot, swapon, swapoff, acct, quotactl, settimeofday, iopl, ioperm, syslog, vhangup: the
// host's.
// - kcmp, process_madvise and the like: tell about or change others for no use that an image has.
// - uselib, ustat, sysfs, _sysctl, nfsservctl, vm86 and what else only old programs would call, if there were any.
// - socketcall: its arguments lie in memory, where no filter can read them.
// Calls of other architectures' tables are skipped where they do not exist.
constexpr SyscallEntry kProfile[] = {
    // clang-format off
    // Files and directories.
    {"access", kAllow}, {"chdir", kAllow}, {"chmod", kAllow}, {"chown", kAllow}, {"chown32", kAllow}, {"close", kAllow},
    {"close_range", kAllow}, {"copy_file_range", kAllow}, {"creat", kAllow}, {"dup", kAllow}, {"dup2", kAllow},
    {"dup3", kAllow}, {"faccessat", kAllow}, {"faccessat2", kAllow}, {"fadvise64", kAllow}, {"fadvise64_64", kAllow},
    {"fallocate", kAllow}, {"fchdir", kAllow}, {"fchmod", kAllow}, {"fchmodat", kAllow}, {"fchown", kAllow},
    {"fchown32", kAllow}, {"fchownat", kAllow}, {"fcntl", kAllow}, {"fcntl64", kAllow}, {"fdatasync", kAllow},
    {"flock", kAllow}, {"fstat", kAllow}, {"fstat64", kAllow}, {"fstatat64", kAllow}, {"fstatfs", kAllow},
    {"fstatfs64", kAllow}, {"fsync", kAllow}, {"ftruncate", kAllow}, {"ftruncate64", kAllow}, {"futimesat", kAllow},
    {"getcwd", kAllow}, {"getdents", kAllow}, {"getdents64", kAllow}, {"lchown", kAllow}, {"lchown32", kAllow},
    {"link", kAllow}, {"linkat", kAllow}, {"_llseek", kAllow}, {"lseek", kAllow}, {"lstat", kAllow},
    {"lstat64", kAllow}, {"mkdir", kAllow}, {"mkdirat", kAllow}, {"mknod", kAllow}, {"mknodat", kAllow},
    {"name_to_handle_at", kAllow}, {"newfstatat", kAllow}, {"open", kAllow}, {"openat", kAllow}, {"openat2", kAllow},
    {"pread64", kAllow}, {"preadv", kAllow}, {"preadv2", kAllow}, {"pwrite64", kAllow}, {"pwritev", kAllow},
    {"pwritev2", kAllow}, {"read", kAllow}, {"readahead", kAllow}, {"readlink", kAllow}, {"readlinkat", kAllow},
    {"readv", kAllow}, {"rename", kAllow}, {"renameat", kAllow}, {"renameat2", kAllow}, {"rmdir", kAllow},
    {"sendfile", kAllow}, {"sendfile64", kAllow}, {"splice", kAllow}, {"stat", kAllow}, {"stat64", kAllow},
    {"statfs", kAllow}, {"statfs64", kAllow}, {"statx", kAllow}, {"symlink", kAllow}, {"symlinkat", kAllow},
    {"sync", kAllow}, {"sync_file_range", kAllow}, {"syncfs", kAllow}, {"tee", kAllow}, {"truncate", kAllow},
    {"truncate64", kAllow}, {"umask", kAllow}, {"unlink", kAllow}, {"unlinkat", kAllow}, {"utime", kAllow},
    {"utimensat", kAllow}, {"utimensat_time64", kAllow}, {"utimes", kAllow}, {"vmsplice", kAllow}, {"write", kAllow},
    {"writev", kAllow},
    // Extended attributes.
    {"fgetxattr", kAllow}, {"flistxattr", kAllow}, {"fremovexattr", kAllow}, {"fsetxattr", kAllow},
    {"getxattr", kAllow}, {"lgetxattr", kAllow}, {"listxattr", kAllow}, {"llistxattr", kAllow},
    {"lremovexattr", kAllow}, {"lsetxattr", kAllow}, {"removexattr", kAllow}, {"setxattr", kAllow},
    // Waiting for files.
    {"epoll_create", kAllow}, {"epoll_create1", kAllow}, {"epoll_ctl", kAllow}, {"epoll_ctl_old", kAllow},
    {"epoll_pwait", kAllow}, {"epoll_pwait2", kAllow}, {"epoll_wait", kAllow}, {"epoll_wait_old", kAllow},
    {"eventfd", kAllow}, {"eventfd2", kAllow}, {"fanotify_mark", kAllow}, {"inotify_add_watch", kAllow},
    {"inotify_init", kAllow}, {"inotify_init1", kAllow}, {"inotify_rm_watch", kAllow}, {"io_cancel", kAllow},
    {"io_destroy", kAllow}, {"io_getevents", kAllow}, {"io_pgetevents", kAllow}, {"io_pgetevents_time64", kAllow},
    {"io_setup", kAllow}, {"io_submit", kAllow}, {"ioctl", kAllow}, {"_newselect", kAllow}, {"pipe", kAllow},
    {"pipe2", kAllow}, {"poll", kAllow}, {"ppoll", kAllow}, {"ppoll_time64", kAllow}, {"pselect6", kAllow},
    {"pselect6_time64", kAllow}, {"select", kAllow}, {"signalfd", kAllow}, {"signalfd4", kAllow},
    // Memory.
    {"brk", kAllow}, {"madvise", kAllow}, {"membarrier", kAllow}, {"memfd_create", kAllow}, {"memfd_secret", kAllow},
    {"mincore", kAllow}, {"mlock", kAllow}, {"mlock2", kAllow}, {"mlockall", kAllow}, {"mmap", kAllow},
    {"mmap2", kAllow}, {"mprotect", kAllow}, {"mremap", kAllow}, {"msync", kAllow}, {"munlock", kAllow},
    {"munlockall", kAllow}, {"munmap", kAllow}, {"pkey_alloc", kAllow}, {"pkey_free", kAllow},
    {"pkey_mprotect", kAllow}, {"process_mrelease", kAllow}, {"remap_file_pages", kAllow},
    // Processes, threads and their attributes. ptrace and process_vm_* stay within the container's pid namespace.
    {"arch_prctl", kAllow}, {"capget", kAllow}, {"capset", kAllow}, {"execve", kAllow}, {"execveat", kAllow},
    {"exit", kAllow}, {"exit_group", kAllow}, {"fork", kAllow}, {"get_robust_list", kAllow},
    {"get_thread_area", kAllow}, {"getcpu", kAllow}, {"getegid", kAllow}, {"getegid32", kAllow}, {"geteuid", kAllow},
    {"geteuid32", kAllow}, {"getgid", kAllow}, {"getgid32", kAllow}, {"getgroups", kAllow}, {"getgroups32", kAllow},
    {"getpgid", kAllow}, {"getpgrp", kAllow}, {"getpid", kAllow}, {"getppid", kAllow}, {"getpriority", kAllow},
    {"getresgid", kAllow}, {"getresgid32", kAllow}, {"getresuid", kAllow}, {"getresuid32", kAllow},
    {"getrlimit", kAllow}, {"getrusage", kAllow}, {"getsid", kAllow}, {"gettid", kAllow}, {"getuid", kAllow},
    {"getuid32", kAllow}, {"ioprio_get", kAllow}, {"ioprio_set", kAllow}, {"kill", kAllow}, {"modify_ldt", kAllow},
    {"pidfd_open", kAllow}, {"pidfd_send_signal", kAllow}, {"prctl", kAllow}, {"prlimit64", kAllow},
    {"process_vm_readv", kAllow}, {"process_vm_writev", kAllow}, {"ptrace", kAllow}, {"restart_syscall", kAllow},
    {"rseq", kAllow}, {"sched_get_priority_max", kAllow}, {"sched_get_priority_min", kAllow},
    {"sched_getaffinity", kAllow}, {"sched_getattr", kAllow}, {"sched_getparam", kAllow},
    {"sched_getscheduler", kAllow}, {"sched_rr_get_interval", kAllow}, {"sched_rr_get_interval_time64", kAllow},
    {"sched_setaffinity", kAllow}, {"sched_setattr", kAllow}, {"sched_setparam", kAllow},
    {"sched_setscheduler", kAllow}, {"sched_yield", kAllow}, {"set_robust_list", kAllow}, {"set_thread_area", kAllow},
    {"set_tid_address", kAllow}, {"setfsgid", kAllow}, {"setfsgid32", kAllow}, {"setfsuid", kAllow},
    {"setfsuid32", kAllow}, {"setgid", kAllow}, {"setgid32", kAllow}, {"setgroups", kAllow}, {"setgroups32", kAllow},
    {"setpgid", kAllow}, {"setpriority", kAllow}, {"setregid", kAllow}, {"setregid32", kAllow}, {"setresgid", kAllow},
    {"setresgid32", kAllow}, {"setresuid", kAllow}, {"setresuid32", kAllow}, {"setreuid", kAllow},
    {"setreuid32", kAllow}, {"setrlimit", kAllow}, {"setsid", kAllow}, {"setuid", kAllow}, {"setuid32", kAllow},
    {"tgkill", kAllow}, {"times", kAllow}, {"tkill", kAllow}, {"ugetrlimit", kAllow}, {"vfork", kAllow},
    {"wait4", kAllow}, {"waitid", kAllow}, {"waitpid", kAllow},
    // Confinement of one's own making.
    {"chroot", kAllow}, {"landlock_add_rule", kAllow}, {"landlock_create_ruleset", kAllow},
    {"landlock_restrict_self", kAllow}, {"seccomp", kAllow},
    // Signals.
    {"alarm", kAllow}, {"pause", kAllow}, {"rt_sigaction", kAllow}, {"rt_sigpending", kAllow},
    {"rt_sigprocmask", kAllow}, {"rt_sigqueueinfo", kAllow}, {"rt_sigreturn", kAllow}, {"rt_sigsuspend", kAllow},
    {"rt_sigtimedwait", kAllow}, {"rt_sigtimedwait_time64", kAllow}, {"rt_tgsigqueueinfo", kAllow},
    {"sigaltstack", kAllow}, {"sigprocmask", kAllow}, {"sigreturn", kAllow},
    // Time.
    {"adjtimex", kAllow}, {"clock_adjtime", kAllow}, {"clock_adjtime64", kAllow}, {"clock_getres", kAllow},
    {"clock_getres_time64", kAllow}, {"clock_gettime", kAllow}, {"clock_gettime64", kAllow},
    {"clock_nanosleep", kAllow}, {"clock_nanosleep_time64", kAllow}, {"getitimer", kAllow}, {"gettimeofday", kAllow},
    {"nanosleep", kAllow}, {"setitimer", kAllow}, {"time", kAllow}, {"timer_create", kAllow}, {"timer_delete", kAllow},
    {"timer_getoverrun", kAllow}, {"timer_gettime", kAllow}, {"timer_gettime64", kAllow}, {"timer_settime", kAllow},
    {"timer_settime64", kAllow}, {"timerfd_create", kAllow}, {"timerfd_gettime", kAllow}, {"timerfd_gettime64", kAllow},
    {"timerfd_settime", kAllow}, {"timerfd_settime64", kAllow},
    // Futexes and System V and POSIX IPC.
    {"futex", kAllow}, {"futex_time64", kAllow}, {"futex_waitv", kAllow}, {"ipc", kAllow}, {"mq_getsetattr", kAllow},
    {"mq_notify", kAllow}, {"mq_open", kAllow}, {"mq_timedreceive", kAllow}, {"mq_timedreceive_time64", kAllow},
    {"mq_timedsend", kAllow}, {"mq_timedsend_time64", kAllow}, {"mq_unlink", kAllow}, {"msgctl", kAllow},
    {"msgget", kAllow}, {"msgrcv", kAllow}, {"msgsnd", kAllow}, {"semctl", kAllow}, {"semget", kAllow},
    {"semop", kAllow}, {"semtimedop", kAllow}, {"semtimedop_time64", kAllow}, {"shmat", kAllow}, {"shmctl", kAllow},
    {"shmdt", kAllow}, {"shmget", kAllow},
    // Sockets.
    {"accept", kAllow}, {"accept4", kAllow}, {"bind", kAllow}, {"connect", kAllow}, {"getpeername", kAllow},
    {"getsockname", kAllow}, {"getsockopt", kAllow}, {"listen", kAllow}, {"recv", kAllow}, {"recvfrom", kAllow},
    {"recvmmsg", kAllow}, {"recvmmsg_time64", kAllow}, {"recvmsg", kAllow}, {"send", kAllow}, {"sendmmsg", kAllow},
    {"sendmsg", kAllow}, {"sendto", kAllow}, {"setsockopt", kAllow}, {"shutdown", kAllow}, {"socketpair", kAllow},
    // About the machine.
    {"getrandom", kAllow}, {"riscv_flush_icache", kAllow}, {"sysinfo", kAllow}, {"uname", kAllow},
    // By their arguments.
    {"clone", kClone}, {"socket", kSocket}, {"personality", kPersonality},
    // The flags of clone3 lie in memory where no filter can read them; libc falls back to clone.
    {"clone3", kNoSys},
    // Newer than the libseccomp of some distributions; one number everywhere.
    {"cachestat", kAllow, 451}, {"fchmodat2", kAllow, 452}, {"map_shadow_stack", kAllow, 453},
    {"futex_wake", kAllow, 454}, {"futex_wait", kAllow, 455}, {"futex_requeue", kAllow, 456},
    {"statmount", kAllow, 457}, {"listmount", kAllow, 458}, {"mseal", kAllow, 462}, {"setxattrat", kAllow, 463},
    {"getxattrat", kAllow, 464}, {"listxattrat", kAllow, 465}, {"removexattrat", kAllow, 466},
    // clang-format on
};

}  // namespace

std::span<const SyscallEntry> DefaultProfile() { return kProfile; }

}  // namespace gantry::runner
