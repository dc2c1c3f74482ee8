// gantry-init: process 1 of every container. Forks the application, reaps what is orphaned, hands signals on, and ends
// with the application's status.
//
// It is a program of its own, static and tiny, executed from a sealed memfd: so no process of the container ever is, or
// descends by exec from, a copy of the runner, /proc/*/exe leads to nothing that could be overwritten (CVE-2019-5736),
// no library of the image is loaded into anything of ours, and a waiting container costs some hundred KB. It drops
// what it does not need, and loads the filter into itself before it forks: whoever takes it over wins nothing.
//
// For a bundle of the runtime specification it does not stay: it waits, if it is told to, until the container is
// started, and then becomes the bundle's process.
// C++ without the library: no exceptions, no allocation.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libimage/base/pass_descriptor.h"
#include "runner/hook_process.h"
#include "runner/interpreter.h"
#include "runner/protocol.h"

namespace gantry::runner {
namespace {

constexpr int kNotFoundCode = 127;
constexpr int kNotExecutableCode = 126;

// Where failures are told; moves above what the application is to have.
int control = kControlFd;
// The container was there before us, and may look on.
bool entered = false;

[[noreturn]] void Fail(Step step, int error, int code = 125, const char* detail = "", size_t index = 0) {
  Report report;
  report.step = step;
  report.error = error;
  report.index = static_cast<uint32_t>(index);
  strncpy(report.detail, detail, sizeof report.detail - 1);
  send(control, &report, sizeof report, MSG_NOSIGNAL);
  _exit(code);
}

struct Params {
  const InitParams* head;
  int passed[kMaxPassed] = {};
  const char* At(uint64_t offset) const { return reinterpret_cast<const char*>(head) + offset; }
};

// One message, with up to as many descriptors as there is room for; how many came.
size_t ReceiveDescriptors(int* into, size_t capacity) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char buffer[CMSG_SPACE(kMaxPassed * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = buffer;
  message.msg_controllen = CMSG_SPACE(capacity * sizeof(int));
  if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) != 1 || CMSG_FIRSTHDR(&message) == nullptr)
    Fail(Step::kReceive, EPIPE);
  const size_t size = CMSG_FIRSTHDR(&message)->cmsg_len - CMSG_LEN(0);
  memcpy(into, CMSG_DATA(CMSG_FIRSTHDR(&message)), size);
  return size / sizeof(int);
}

Params Receive() {
  int fd = -1;
  ReceiveDescriptors(&fd, 1);
  struct stat status;
  if (fstat(fd, &status) < 0)
    Fail(Step::kReceive, errno);
  // Private: what is written stays ours.
  void* memory = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED)
    Fail(Step::kReceive, errno);
  close(fd);
  Params params;
  params.head = static_cast<const InitParams*>(memory);
  if (params.head->magic != InitParams::kMagic)
    Fail(Step::kReceive, EPROTO);
  if (params.head->passed > 0 && ReceiveDescriptors(params.passed, kMaxPassed) != params.head->passed)
    Fail(Step::kReceive, EPROTO);
  return params;
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

// Returns the listener, or -1.
int LoadFilter(const Params& params) {
  const InitParams& head = *params.head;
  if (head.filter_count == 0)
    return -1;
  sock_fprog program = {};
  program.len = static_cast<unsigned short>(head.filter_count);
  program.filter = reinterpret_cast<sock_filter*>(const_cast<char*>(params.At(head.filter)));
  const unsigned flags = head.filter_flags | (head.notifies != 0 ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0U);
  const long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  if (listener < 0)
    Fail(Step::kFilter, errno);
  return head.notifies != 0 ? static_cast<int>(listener) : -1;
}

void SendListener(int agent, int listener, const char* text, size_t size) {
  if (!PassDescriptors(agent, std::span(&listener, 1), std::string_view(text, size)))
    _exit(errno & 0xFF);
}

// The filter may ask the agent about the very calls that would give the agent its listener: a process that is not under
// the filter, but shares our descriptors, sends it.
void LoadFilterAndNotify(const Params& params) {
  const InitParams& head = *params.head;
  if (head.notifies == 0) {
    LoadFilter(params);
    return;
  }
  const int agent = params.passed[head.waits];
  auto* shared =
      static_cast<volatile int*>(mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (shared == MAP_FAILED)
    Fail(Step::kListener, errno);
  *shared = -1;
  const long helper = syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (helper < 0)
    Fail(Step::kListener, errno);
  if (helper == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    const timespec pause = {0, 100'000};
    while (*shared < 0) nanosleep(&pause, nullptr);
    SendListener(agent, *shared, params.At(head.notice), head.notice_size);
    _exit(0);
  }
  const int listener = LoadFilter(params);
  *shared = listener;
  int status = 0;
  if (wait4(static_cast<pid_t>(helper), &status, 0, nullptr) < 0 || status != 0)
    Fail(Step::kListener, WIFEXITED(status) && status != 0 ? WEXITSTATUS(status) : ECHILD);
  close(listener);
  close(agent);
}

void SetCapabilities(const InitParams& head) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (unsigned half = 0; half < 2; ++half) {
    data[half].effective = static_cast<uint32_t>(head.effective >> (32 * half));
    data[half].permitted = static_cast<uint32_t>(head.permitted >> (32 * half));
    data[half].inheritable = static_cast<uint32_t>(head.inheritable >> (32 * half));
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &header, data) < 0)
    Fail(Step::kCapabilities, errno);
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if ((head.ambient >> capability & 1) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0)
      Fail(Step::kCapabilities, errno);
  }
}

void BecomeUser(const InitParams& head, const uint32_t* groups) {
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    // To look first is cheaper than to drop what was dropped before.
    if ((head.bounding >> capability & 1) == 0 && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 0 &&
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL)
      Fail(Step::kCapabilities, errno);
  }
  if (head.keep_groups == 0 && syscall(SYS_setgroups, head.group_count, groups) < 0)
    Fail(Step::kGroups, errno);
  // So that the change of the user takes no more of the sets than is wanted.
  if (head.permitted != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
    Fail(Step::kCapabilities, errno);
  if (syscall(SYS_setresgid, head.gid, head.gid, head.gid) < 0 ||
      syscall(SYS_setresuid, head.uid, head.uid, head.uid) < 0)
    Fail(Step::kUser, errno);
  SetCapabilities(head);
}

// The working directory must be one that the container can name (CVE-2024-21626).
void ChangeDir(const char* path) {
  char seen[4096];
  if (chdir(path) < 0)
    Fail(Step::kChangeDir, errno, kNotExecutableCode, path);
  if (syscall(SYS_getcwd, seen, sizeof seen) < 0 || seen[0] != '/')
    Fail(Step::kChangeDir, ELOOP, kNotExecutableCode, path);
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

void ResetSignals() {
  for (int number = 1; number <= 64; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void SetLimits(const Params& params) {
  const InitParams& head = *params.head;
  const auto* limits = reinterpret_cast<const PackedLimit*>(params.At(head.limits));
  for (uint64_t i = 0; i < head.limit_count; ++i) {
    const rlimit limit = {limits[i].soft, limits[i].hard};
    if (setrlimit(static_cast<__rlimit_resource>(limits[i].resource), &limit) < 0)
      Fail(Step::kLimit, errno, 125, "", i);
  }
  if (head.direct == 0)
    return;
  if (head.scheduler != 0 && syscall(SYS_sched_setattr, 0, params.At(head.scheduler), 0) < 0)
    Fail(Step::kScheduler, errno);
  if (head.io_priority >= 0 && syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, head.io_priority) < 0)
    Fail(Step::kIoPriority, errno);
  if (head.affinity_size != 0 && syscall(SYS_sched_setaffinity, 0, head.affinity_size, params.At(head.affinity)) < 0)
    Fail(Step::kAffinity, errno);
}

// In a container that was entered what is at /proc is not to be believed (CVE-2019-16884).
int NewProc() {
  const long context = syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
  if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    Fail(Step::kProc, errno);
  const long mount =
      syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  if (mount < 0)
    Fail(Step::kProc, errno);
  close(static_cast<int>(context));
  return static_cast<int>(mount);
}

// For the next execution, which is the application's.
void WriteLabel(int proc, const char* file, const char* label) {
  const int fd = openat(proc, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || write(fd, label, strlen(label)) < 0)
    Fail(Step::kLabel, errno, 125, label);
  close(fd);
}

void WriteLabels(const Params& params) {
  const InitParams& head = *params.head;
  if (head.apparmor == 0 && head.selinux == 0)
    return;
  const int proc = entered ? NewProc() : kProcFd;
  if (head.apparmor != 0)
    WriteLabel(proc, "thread-self/attr/apparmor/exec", params.At(head.apparmor));
  if (head.selinux != 0)
    WriteLabel(proc, "thread-self/attr/exec", params.At(head.selinux));
  close(proc);
}

// A command beside the application's life: as root, with no more than the application may have. 0, or its exit code, or
// 128 + the signal that killed it.
int RunHandler(const Params& params, const PackedHandler& handler) {
  const pid_t child = fork();
  if (child < 0)
    Fail(Step::kHandler, errno);
  if (child == 0) {
    InitParams head = *params.head;
    head.uid = head.gid = 0;
    head.group_count = 0;
    head.permitted = head.effective = head.bounding;
    setsid();
    ResetSignals();
    ChangeDir(params.At(head.working_dir));
    BecomeUser(head, nullptr);
    Execute(Texts(params.At(handler.candidates), handler.candidate_count),
            Texts(params.At(handler.arguments), handler.argument_count),
            Texts(params.At(head.environment), head.environment_count));
  }
  int status = 0;
  for (pid_t pid = 0; pid != child;) {
    if ((pid = waitpid(-1, &status, 0)) < 0 && errno != EINTR)
      return 1;
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void PreStart(const Params& params) {
  const auto* handlers = reinterpret_cast<const PackedHandler*>(params.At(params.head->pre_start));
  for (uint64_t i = 0; i < params.head->pre_start_count; ++i) {
    if (const int code = RunHandler(params, handlers[i]); code != 0)
      Fail(Step::kHandlerCode, code, 125, "", i);
  }
}

// Descriptors 3 and up are those to preserve, in order; all others end with the execution.
void PlacePreserved(Params& params) {
  const InitParams& head = *params.head;
  const int first = static_cast<int>(head.waits + head.notifies);
  const int count = static_cast<int>(head.passed) - first;
  const int above = kControlFd + count;
  int moved[kMaxPassed];
  if ((control = fcntl(control, F_DUPFD_CLOEXEC, above)) < 0)
    Fail(Step::kPreserve, errno);
  int& agent = params.passed[head.waits];
  if (head.notifies != 0 && (agent = fcntl(agent, F_DUPFD_CLOEXEC, above)) < 0)
    Fail(Step::kPreserve, errno);
  for (int i = 0; i < count; ++i) {
    if ((moved[i] = fcntl(params.passed[first + i], F_DUPFD_CLOEXEC, above)) < 0)
      Fail(Step::kPreserve, errno);
  }
  for (int i = 0; i < count; ++i) {
    if (dup2(moved[i], kControlFd + i) < 0)
      Fail(Step::kPreserve, errno);
  }
  if (syscall(SYS_close_range, above, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) < 0)
    Fail(Step::kPreserve, errno);
}

// Whoever was started by a socket looks whether it is meant: the number of the process is known only now.
void NumberListener(char** environment) {
  constexpr char kName[] = "LISTEN_PID=";
  for (char** entry = environment; *entry != nullptr; ++entry) {
    if (strncmp(*entry, kName, sizeof kName - 1) != 0)
      continue;
    char* at = *entry + sizeof kName - 1;
    for (int place = 1'000'000'000, pid = getpid(); place > 0; place /= 10) {
      if (pid >= place)
        *at++ = static_cast<char>('0' + pid / place % 10);
    }
    *at = '\0';
  }
}

[[noreturn]] void RunApplication(Params& params) {
  const InitParams& head = *params.head;
  if (setsid() < 0 || (head.terminal != 0 && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0))
    Fail(Step::kTerminal, errno);
  // So that the user may open /dev/tty's name again; on a kernel that refuses, the open descriptors still serve.
  if (head.terminal != 0 && fchown(STDIN_FILENO, head.uid, static_cast<gid_t>(-1)) < 0)
    errno = 0;
  ResetSignals();
  umask(head.umask);
  char** candidates = Texts(params.At(head.candidates), head.candidate_count);
  char** arguments = Texts(params.At(head.arguments), head.argument_count);
  char** environment = Texts(params.At(head.environment), head.environment_count);
  if (syscall(SYS_close_range, kControlFd, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */) < 0)
    Fail(Step::kFork, errno);
  SetLimits(params);
  WriteLabels(params);
  ChangeDir(params.At(head.working_dir));
  BecomeUser(head, reinterpret_cast<const uint32_t*>(params.At(head.groups)));
  if (head.passed != 0) {
    PlacePreserved(params);
    NumberListener(environment);
  }
  Execute(candidates, arguments, environment);
}

// What engines expect `create` to find out: whether there is such a program at all.
void CheckProgram(const Params& params) {
  const char* candidate = params.At(params.head->candidates);
  struct stat status;
  int error = ENOENT;
  for (uint64_t i = 0; i < params.head->candidate_count; ++i) {
    if (stat(candidate, &status) == 0) {
      if (S_ISREG(status.st_mode) && (status.st_mode & 0111) != 0)
        return;
      error = S_ISDIR(status.st_mode) ? EISDIR : EACCES;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      return;  // for the user to find out
    }
    candidate += strlen(candidate) + 1;
  }
  Fail(Step::kExecute, error, error == ENOENT ? kNotFoundCode : kNotExecutableCode);
}

// And whether its limits can be what they are to be: to raise one takes a privilege. Until the start they stay as they
// are, so that they are in nobody's way.
void CheckLimits(const Params& params) {
  const auto* limits = reinterpret_cast<const PackedLimit*>(params.At(params.head->limits));
  for (uint64_t i = 0; i < params.head->limit_count; ++i) {
    const auto resource = static_cast<__rlimit_resource>(limits[i].resource);
    rlimit limit;
    if (syscall(SYS_prlimit64, 0, resource, nullptr, &limit) < 0 || limit.rlim_max >= limits[i].hard)
      continue;
    limit.rlim_max = limits[i].hard;
    if (setrlimit(resource, &limit) < 0)
      Fail(Step::kLimit, errno, 125, "", i);
  }
}

// Process 1 of a namespace hears no signal without a handler, and a container that is only created is to end by one.
void EndBySignal(int number) { _exit(128 + number); }

void AwaitStart(int listener) {
  static constexpr int kEnding[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
  sigset_t ending;
  sigemptyset(&ending);
  for (const int number : kEnding) {
    signal(number, EndBySignal);
    sigaddset(&ending, number);
  }
  // The runner, which hears of it by the end of the file, is not needed any more.
  close(control);
  sigprocmask(SIG_UNBLOCK, &ending, nullptr);
  while ((control = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) < 0) {
    if (errno != EINTR && errno != ECONNABORTED)
      _exit(125);
  }
  close(listener);
}

void RunHooks(const Params& params) {
  const InitParams& head = *params.head;
  const auto* hooks = reinterpret_cast<const PackedHook*>(params.At(head.hooks));
  for (uint64_t i = 0; i < head.hook_count; ++i) {
    const HookPlan plan = {params.At(hooks[i].path), Texts(params.At(hooks[i].arguments), hooks[i].argument_count),
                           Texts(params.At(hooks[i].environment), hooks[i].environment_count),
                           static_cast<int>(hooks[i].timeout)};
    HookFailure failure;
    if (!RunHook(plan, params.At(head.state), head.state_size, failure)) {
      const bool ran = failure.error == 0;
      Fail(ran ? Step::kHookCode : Step::kHook, ran ? failure.code : failure.error, 125, failure.output, i);
    }
  }
}

// Pipes and files of the runner's that the user must be able to open again; not what all share.
void GiveStreams(const InitParams& head) {
  for (int fd = 0; fd <= 2 && head.owns_streams != 0; ++fd) {
    struct stat status;
    if (fstat(fd, &status) < 0 || status.st_uid == head.uid || S_ISCHR(status.st_mode) != (head.terminal != 0))
      continue;
    if (fchown(fd, head.uid, static_cast<gid_t>(-1)) < 0)
      errno = 0;  // another user namespace's: the open descriptor still works
  }
}

// As root first; where root may not go (a network file system), as the user.
bool TryChangeDir(const char* path) {
  if (chdir(path) < 0 && errno == EACCES)
    return false;
  ChangeDir(path);
  return true;
}

// The bundle's process, in this one.
[[noreturn]] void BecomeApplication(Params& params) {
  const InitParams& head = *params.head;
  prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  if (head.waits != 0) {
    CheckProgram(params);
    CheckLimits(params);
    AwaitStart(params.passed[0]);
  }
  RunHooks(params);
  if (head.terminal != 0 && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
    Fail(Step::kTerminal, errno);
  GiveStreams(head);
  SetLimits(params);
  ResetSignals();
  umask(head.umask);
  char** candidates = Texts(params.At(head.candidates), head.candidate_count);
  char** arguments = Texts(params.At(head.arguments), head.argument_count);
  char** environment = Texts(params.At(head.environment), head.environment_count);
  WriteLabels(params);
  const bool there = TryChangeDir(params.At(head.working_dir));
  if (head.no_new_privs == 0)
    LoadFilterAndNotify(params);
  else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    Fail(Step::kNoNewPrivs, errno);
  BecomeUser(head, reinterpret_cast<const uint32_t*>(params.At(head.groups)));
  if (!there)
    ChangeDir(params.At(head.working_dir));
  PlacePreserved(params);
  if (head.no_new_privs != 0)
    LoadFilterAndNotify(params);
  Execute(candidates, arguments, environment);
}

// What only the start took: to load a filter without no_new_privs, to raise a limit.
void GiveUp(const InitParams& head) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  const uint64_t keep = head.bounding | uint64_t{1} << CAP_KILL | uint64_t{1} << CAP_SETGID |
                        uint64_t{1} << CAP_SETUID | uint64_t{1} << CAP_SETPCAP;
  if (syscall(SYS_capget, &header, data) < 0)
    _exit(125);
  for (unsigned half = 0; half < 2; ++half) {
    data[half].permitted &= static_cast<uint32_t>(keep >> (32 * half));
    data[half].effective = data[half].permitted;
  }
  for (const int capability : {CAP_SYS_ADMIN, CAP_SYS_RESOURCE}) {
    if ((keep >> capability & 1) == 0 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL)
      _exit(125);
  }
  if (syscall(SYS_capset, &header, data) < 0)
    _exit(125);
}

[[noreturn]] void End(const Params& params, int status) {
  const auto* handlers = reinterpret_cast<const PackedHandler*>(params.At(params.head->post_stop));
  for (uint64_t i = 0; i < params.head->post_stop_count; ++i) RunHandler(params, handlers[i]);
  _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

// Ends with the application; the kernel then kills all that is left in the namespace.
[[noreturn]] void Supervise(const Params& params, pid_t application, const sigset_t& all) {
  for (;;) {
    const int number = sigwaitinfo(&all, nullptr);
    if (number > 0 && number != SIGCHLD)
      kill(application, number);
    int status = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == application)
        End(params, status);
    }
  }
}

// We are in all of a running container but its pid namespace, where our children will be: one goes on in our place.
// Whoever looks on there, and may trace everyone, sees nothing of the runner but this program (CVE-2019-5736), with no
// more rights than the application starts with and what its filter, limits and labels take, and with no descriptor of a
// directory (CVE-2016-9962).
void EnterPids() {
  if (fcntl(kAnswersFd, F_GETFD) < 0)
    return;
  const long child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child != 0) {
    const Answer answer = {child < 0 ? errno : 0, 0, static_cast<int32_t>(child)};
    send(kAnswersFd, &answer, sizeof answer, MSG_NOSIGNAL);
    _exit(0);
  }
  close(kAnswersFd);
  entered = true;
  if (setsid() < 0)
    Fail(Step::kSession, errno);
  for (int task = kFirstTaskFd; fcntl(task, F_GETFD) >= 0; ++task) {
    if (write(task, "0", 1) != 1)
      Fail(Step::kJoinCgroup, errno, 125, "", static_cast<size_t>(task - kFirstTaskFd));
    close(task);
  }
}

[[noreturn]] void Main() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_NAME, "gantry-init", 0, 0, 0);
  fcntl(kControlFd, F_SETFD, FD_CLOEXEC);
  EnterPids();
  Report ready;
  ready.kind = Report::kReady;
  // From here on the runner's death is ours; if it died before, there is nobody to send to.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || send(control, &ready, sizeof ready, MSG_NOSIGNAL) < 0)
    _exit(125);
  Params params = Receive();
  if (params.head->direct != 0)
    BecomeApplication(params);
  LoadFilter(params);
  PreStart(params);
  const pid_t application = fork();
  if (application < 0)
    Fail(Step::kFork, errno);
  if (application == 0)
    RunApplication(params);
  close(control);
  for (uint32_t i = 0; i < params.head->passed; ++i) close(params.passed[i]);
  if (params.head->apparmor != 0 || params.head->selinux != 0)
    close(kProcFd);
  if (params.head->no_new_privs == 0 || params.head->limit_count != 0)
    GiveUp(*params.head);
  Supervise(params, application, all);
}

}  // namespace
}  // namespace gantry::runner

int main() { gantry::runner::Main(); }
