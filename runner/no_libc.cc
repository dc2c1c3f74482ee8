// The few functions of the C library that gantry-init calls, in place of the library: process 1 of every container is
// written to a memory file at every start, and is a thirtieth of what it would be with a static glibc. What is not here
// does not link. For programs of one thread that are executed without arguments.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr size_t kKernelSetBytes = 8;  // of a sigset_t, which has room for more

#if defined(__x86_64__)
asm(".globl _start\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  and $-16, %rsp\n"
    "  call main\n"
    "  mov %eax, %edi\n"
    "  mov $231, %eax\n"  // exit_group
    "  syscall\n"
    "gantry_restore_signal:\n"
    "  mov $15, %eax\n"  // rt_sigreturn
    "  syscall\n");
extern "C" void gantry_restore_signal();

long Raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
asm(".globl _start\n"
    "_start:\n"
    "  mov x29, #0\n"
    "  bl main\n"
    "  mov x8, #94\n"  // exit_group
    "  svc #0\n");

long Raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
#else
#error "say how this machine enters its kernel"
#endif

int error_number;

// The compiler would else make a call of memcpy out of the loop in memcpy.
inline void KeepLoop() { asm volatile("" ::: "memory"); }

template <typename... Arguments>
long Call(long number, Arguments... arguments) {
  const long result = Raw(number, (long)arguments...);
  if (result >= 0 || result < -4095)
    return result;
  error_number = (int)-result;
  return -1;
}

struct KernelAction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  unsigned long mask;
};

}  // namespace

// NOLINTBEGIN(readability-identifier-naming, bugprone-reserved-identifier): the library's names
extern "C" {

int* __errno_location() noexcept { return &error_number; }

void* memcpy(void* to, const void* from, size_t size) noexcept {
  for (size_t i = 0; i < size; ++i) {
    static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
    KeepLoop();
  }
  return to;
}

void* memset(void* to, int byte, size_t size) noexcept {
  for (size_t i = 0; i < size; ++i) {
    static_cast<char*>(to)[i] = (char)byte;
    KeepLoop();
  }
  return to;
}

int memcmp(const void* a, const void* b, size_t size) noexcept {
  for (size_t i = 0; i < size; ++i) {
    const int difference = static_cast<const unsigned char*>(a)[i] - static_cast<const unsigned char*>(b)[i];
    if (difference != 0)
      return difference;
  }
  return 0;
}

size_t strlen(const char* text) noexcept {
  size_t size = 0;
  for (; text[size] != '\0'; ++size) KeepLoop();
  return size;
}

int strncmp(const char* a, const char* b, size_t most) noexcept {
  for (size_t i = 0; i < most; ++i) {
    if (a[i] != b[i] || a[i] == '\0')
      return (unsigned char)a[i] - (unsigned char)b[i];
  }
  return 0;
}

char* strncpy(char* to, const char* from, size_t size) noexcept {
  size_t i = 0;
  for (; i < size && from[i] != '\0'; ++i) to[i] = from[i];
  for (; i < size; ++i) to[i] = '\0';
  return to;
}

size_t strspn(const char* text, const char* accepted) noexcept {
  size_t size = 0;
  for (; text[size] != '\0'; ++size) {
    const char* one = accepted;
    while (*one != '\0' && *one != text[size]) ++one;
    if (*one == '\0')
      break;
  }
  return size;
}

size_t strcspn(const char* text, const char* rejected) noexcept {
  size_t size = 0;
  for (; text[size] != '\0'; ++size) {
    for (const char* one = rejected; *one != '\0'; ++one) {
      if (*one == text[size])
        return size;
    }
  }
  return size;
}

long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& one : a) one = va_arg(list, long);
  va_end(list);
  return Call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int prctl(int option, ...) noexcept {
  va_list list;
  va_start(list, option);
  unsigned long a[4];
  for (unsigned long& one : a) one = va_arg(list, unsigned long);
  va_end(list);
  return (int)Call(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}

int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list list;
  va_start(list, request);
  const long argument = va_arg(list, long);
  va_end(list);
  return (int)Call(SYS_ioctl, fd, request, argument);
}

int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);
  va_end(list);
  return (int)Call(SYS_fcntl, fd, command, argument);
}

int openat(int dir, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const unsigned mode = va_arg(list, unsigned);
  va_end(list);
  return (int)Call(SYS_openat, dir, path, flags, mode);
}

int open(const char* path, int flags, ...) { return openat(AT_FDCWD, path, flags, 0); }

void _exit(int code) {
  for (;;) Raw(SYS_exit_group, code);
}

pid_t fork() noexcept { return (pid_t)Call(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
pid_t getpid() noexcept { return (pid_t)Raw(SYS_getpid); }
pid_t setsid() noexcept { return (pid_t)Call(SYS_setsid); }
pid_t wait4(pid_t pid, int* status, int options, rusage* usage) noexcept {
  return (pid_t)Call(SYS_wait4, pid, status, options, usage);
}
pid_t waitpid(pid_t pid, int* status, int options) { return wait4(pid, status, options, nullptr); }
int execve(const char* path, char* const* arguments, char* const* environment) noexcept {
  return (int)Call(SYS_execve, path, arguments, environment);
}
int kill(pid_t pid, int number) noexcept { return (int)Call(SYS_kill, pid, number); }

int access(const char* path, int mode) noexcept { return (int)Call(SYS_faccessat, AT_FDCWD, path, mode); }
int chdir(const char* path) noexcept { return (int)Call(SYS_chdir, path); }
int close(int fd) { return (int)Call(SYS_close, fd); }
int dup2(int from, int to) noexcept {
  return from == to ? (fcntl(from, F_GETFD) < 0 ? -1 : to) : (int)Call(SYS_dup3, from, to, 0);
}
int fchown(int fd, uid_t uid, gid_t gid) noexcept { return (int)Call(SYS_fchown, fd, uid, gid); }
int fstat(int fd, struct stat* status) noexcept { return (int)Call(SYS_fstat, fd, status); }
int stat(const char* path, struct stat* status) noexcept {
  return (int)Call(SYS_newfstatat, AT_FDCWD, path, status, 0);
}
off_t lseek(int fd, off_t offset, int whence) noexcept { return Call(SYS_lseek, fd, offset, whence); }
int memfd_create(const char* name, unsigned flags) noexcept { return (int)Call(SYS_memfd_create, name, flags); }
void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  const long address = Call(SYS_mmap, at, size, protection, flags, fd, offset);
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
}
ssize_t pread(int fd, void* into, size_t size, off_t offset) { return Call(SYS_pread64, fd, into, size, offset); }
ssize_t read(int fd, void* into, size_t size) { return Call(SYS_read, fd, into, size); }
ssize_t write(int fd, const void* from, size_t size) { return Call(SYS_write, fd, from, size); }
int setrlimit(__rlimit_resource_t resource, const rlimit* limit) noexcept {
  return (int)Call(SYS_prlimit64, 0, resource, limit, nullptr);
}
mode_t umask(mode_t mask) noexcept { return (mode_t)Raw(SYS_umask, mask); }

int nanosleep(const timespec* time, timespec* left) { return (int)Call(SYS_nanosleep, time, left); }
int poll(pollfd* fds, nfds_t count, int milliseconds) {
  timespec time = {milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  return (int)Call(SYS_ppoll, fds, count, milliseconds < 0 ? nullptr : &time, nullptr, 0);
}

int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  return (int)Call(SYS_accept4, fd, address, size, flags);
}
ssize_t recvmsg(int fd, msghdr* message, int flags) { return Call(SYS_recvmsg, fd, message, flags); }
ssize_t send(int fd, const void* from, size_t size, int flags) {
  return Call(SYS_sendto, fd, from, size, flags, nullptr, 0);
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) { return Call(SYS_sendmsg, fd, message, flags); }

int sigemptyset(sigset_t* set) noexcept {
  memset(set, 0, sizeof *set);
  return 0;
}
int sigfillset(sigset_t* set) noexcept {
  memset(set, 0xFF, sizeof *set);
  return 0;
}
int sigaddset(sigset_t* set, int number) noexcept {
  *reinterpret_cast<uint64_t*>(set) |= uint64_t{1} << (number - 1);
  return 0;
}
int sigprocmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  return (int)Call(SYS_rt_sigprocmask, how, set, before, kKernelSetBytes);
}
int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  return (int)Call(SYS_rt_sigtimedwait, set, info, nullptr, kKernelSetBytes);
}
sighandler_t signal(int number, sighandler_t handler) noexcept {
  KernelAction action = {handler, SA_RESTART, nullptr, 0};
#if defined(__x86_64__)
  action.flags |= 0x04000000;  // SA_RESTORER
  action.restorer = gantry_restore_signal;
#endif
  KernelAction before = {};
  return Call(SYS_rt_sigaction, number, &action, &before, kKernelSetBytes) < 0 ? SIG_ERR : before.handler;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming, bugprone-reserved-identifier)
