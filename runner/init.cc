// gantry-init: process 1 of every container. Forks the application, reaps what is orphaned, hands signals on, and ends
// with the application's status.
//
// It is a program of its own, static and tiny, executed from a sealed memfd: so no process of the container ever is, or
// descends by exec from, a copy of the runner, /proc/*/exe leads to nothing that could be overwritten (CVE-2019-5736),
// no library of the image is loaded into anything of ours, and a waiting container costs some hundred KB. It drops
// what it does not need, and loads the filter into itself before it forks: whoever takes it over wins nothing.
// C++ without the library: no exceptions, no allocation.
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/protocol.h"

namespace gantry::runner {
namespace {

constexpr int kNotFoundCode = 127;
constexpr int kNotExecutableCode = 126;

[[noreturn]] void Fail(Step step, int error, int code = 125, const char* detail = "") {
  Report report;
  report.step = step;
  report.error = error;
  strncpy(report.detail, detail, sizeof report.detail - 1);
  send(kControlFd, &report, sizeof report, MSG_NOSIGNAL);
  _exit(code);
}

struct Params {
  const InitParams* head;
  const char* At(uint64_t offset) const { return reinterpret_cast<const char*>(head) + offset; }
};

Params Receive() {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(kControlFd, &message, MSG_CMSG_CLOEXEC) != 1 || CMSG_FIRSTHDR(&message) == nullptr)
    Fail(Step::kReceive, EPIPE);
  int fd = -1;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  struct stat status;
  if (fstat(fd, &status) < 0)
    Fail(Step::kReceive, errno);
  void* memory = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED)
    Fail(Step::kReceive, errno);
  close(fd);
  const auto* head = static_cast<const InitParams*>(memory);
  if (head->magic != InitParams::kMagic)
    Fail(Step::kReceive, EPROTO);
  return {head};
}

// An array of pointers to `count` texts that lie one after the other.
char** Texts(const char* text, uint64_t count) {
  void* memory = mmap(nullptr, (count + 1) * sizeof(char*), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    Fail(Step::kReceive, errno);
  auto** out = static_cast<char**>(memory);
  for (uint64_t i = 0; i < count; ++i) {
    out[i] = const_cast<char*>(text);
    text += strlen(text) + 1;
  }
  return out;
}

void LoadFilter(const Params& params) {
  if (params.head->filter_count == 0)
    return;
  sock_fprog program = {};
  program.len = static_cast<unsigned short>(params.head->filter_count);
  program.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(params.At(params.head->filter)));
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
    Fail(Step::kFilter, errno);
}

void SetCapabilities(uint64_t set) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  data[0].effective = data[0].permitted = static_cast<uint32_t>(set);
  data[1].effective = data[1].permitted = static_cast<uint32_t>(set >> 32);
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &header, data) < 0)
    Fail(Step::kCapabilities, errno);
}

void BecomeUser(const InitParams& head, const uint32_t* groups) {
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if ((head.capabilities >> capability & 1) == 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 &&
        errno != EINVAL)
      Fail(Step::kCapabilities, errno);
  }
  if (head.keep_groups == 0 && syscall(SYS_setgroups, head.group_count, groups) < 0)
    Fail(Step::kGroups, errno);
  if (syscall(SYS_setresgid, head.gid, head.gid, head.gid) < 0 ||
      syscall(SYS_setresuid, head.uid, head.uid, head.uid) < 0)
    Fail(Step::kUser, errno);
  SetCapabilities(head.uid == 0 ? head.capabilities : 0);
}

// The working directory must be one that the container can name (CVE-2024-21626).
void ChangeDir(const char* path) {
  char seen[4096];
  if (chdir(path) < 0)
    Fail(Step::kChangeDir, errno, kNotExecutableCode, path);
  if (syscall(SYS_getcwd, seen, sizeof seen) < 0 || seen[0] != '/')
    Fail(Step::kChangeDir, ELOOP, kNotExecutableCode, path);
}

// Who is missing when execve says ENOENT for a file that exists: the program behind "#!" or the dynamic loader. Fills
// `name` from the file's first bytes, or leaves it empty.
void FindInterpreter(const char* path, char* name, size_t capacity) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  char head[4096] = {};
  const ssize_t size = fd < 0 ? 0 : read(fd, head, sizeof head - 1);
  if (size > 2 && head[0] == '#' && head[1] == '!') {
    const char* begin = head + 2 + strspn(head + 2, " \t");
    const size_t length = strcspn(begin, " \t\r\n");
    const bool carriage_return = begin[length] == '\r';
    const size_t kept = length < capacity - 4 ? length : capacity - 4;
    memcpy(name, begin, kept);
    if (carriage_return)
      memcpy(name + kept, "\\r", 3);
    return;
  }
  Elf64_Ehdr elf;
  memcpy(&elf, head, sizeof elf);
  if (size < static_cast<ssize_t>(sizeof elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0)
    return;
  for (int i = 0; i < elf.e_phnum && i < 64; ++i) {
    Elf64_Phdr segment;
    if (pread(fd, &segment, sizeof segment, static_cast<off_t>(elf.e_phoff + i * sizeof segment)) != sizeof segment)
      return;
    if (segment.p_type == PT_INTERP) {
      const size_t length = segment.p_filesz < capacity ? segment.p_filesz : capacity - 1;
      if (pread(fd, name, length, static_cast<off_t>(segment.p_offset)) < 0)
        name[0] = '\0';
      return;
    }
  }
}

[[noreturn]] void FailExecute(const char* path, int error) {
  char interpreter[160] = {};
  const bool found = access(path, F_OK) == 0;
  if (error == ENOENT && found)
    FindInterpreter(path, interpreter, sizeof interpreter);
  const bool missing = error == ENOENT || error == ENOTDIR;
  Fail(Step::kExecute, error, missing ? kNotFoundCode : kNotExecutableCode, interpreter);
}

// `candidates`: at least one, then null.
[[noreturn]] void Execute(char** candidates, char** arguments, char** environment) {
  // As a shell: a name that exists but may not be executed is remembered, and the search goes on.
  int error = ENOENT;
  const char* failed = candidates[0];
  char** candidate = candidates;
  do {
    execve(*candidate, arguments, environment);
    const bool absent = (errno == ENOENT || errno == ENOTDIR) && access(*candidate, F_OK) < 0;
    if (absent)
      continue;
    error = errno;
    failed = *candidate;
    if (errno != EACCES)
      break;
  } while (*++candidate != nullptr);
  FailExecute(failed, error);
}

[[noreturn]] void RunApplication(const Params& params) {
  const InitParams& head = *params.head;
  if (setsid() < 0 || (head.terminal != 0 && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0))
    Fail(Step::kTerminal, errno);
  // So that the user may open /dev/tty's name again; on a kernel that refuses, the open descriptors still serve.
  if (head.terminal != 0 && fchown(STDIN_FILENO, head.uid, static_cast<gid_t>(-1)) < 0)
    errno = 0;
  for (int number = 1; number <= 64; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(022);
  char** candidates = Texts(params.At(head.candidates), head.candidate_count);
  char** arguments = Texts(params.At(head.arguments), head.argument_count);
  char** environment = Texts(params.At(head.environment), head.environment_count);
  if (syscall(SYS_close_range, kControlFd, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) < 0)
    Fail(Step::kFork, errno);
  ChangeDir(params.At(head.working_dir));
  BecomeUser(head, reinterpret_cast<const uint32_t*>(params.At(head.groups)));
  Execute(candidates, arguments, environment);
}

// Ends with the application; the kernel then kills all that is left in the namespace.
[[noreturn]] void Supervise(pid_t application, const sigset_t& all) {
  for (;;) {
    const int number = sigwaitinfo(&all, nullptr);
    if (number > 0 && number != SIGCHLD)
      kill(application, number);
    int status = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == application)
        _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
    }
  }
}

[[noreturn]] void Main() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_NAME, "gantry-init", 0, 0, 0);
  fcntl(kControlFd, F_SETFD, FD_CLOEXEC);
  Report ready;
  ready.kind = Report::kReady;
  // From here on the runner's death is ours; if it died before, there is nobody to send to.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || send(kControlFd, &ready, sizeof ready, MSG_NOSIGNAL) < 0)
    _exit(125);
  const Params params = Receive();
  LoadFilter(params);
  const pid_t application = fork();
  if (application < 0)
    Fail(Step::kFork, errno);
  if (application == 0)
    RunApplication(params);
  close(kControlFd);
  Supervise(application, all);
}

}  // namespace
}  // namespace gantry::runner

int main() { gantry::runner::Main(); }
