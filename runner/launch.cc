#include "runner/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <tuple>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/inherited.h"
#include "libimage/base/pass_descriptor.h"
#include "runner/userns.h"

namespace gantry::runner {
namespace {

clone_args ArgumentsOf(const Namespaces& namespaces, uint64_t flags, int* pidfd) {
  clone_args arguments{};
  arguments.flags = flags | CLONE_CLEAR_SIGHAND | namespaces.made;
  arguments.exit_signal = (flags & CLONE_PARENT) != 0 ? 0 : SIGCHLD;
  if (pidfd != nullptr) {
    arguments.flags |= CLONE_PIDFD;
    arguments.pidfd = reinterpret_cast<uint64_t>(pidfd);
  }
  if (namespaces.cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(namespaces.cgroup);
  }
  return arguments;
}

// `ours` is the parent's end of the socket: the child could not see it end if it had it, too.
[[noreturn]] void BeChild(const SetupPlan& plan, int cgroup, int ours) {
  for (const int fd : {ours, cgroup}) {
    if (fd >= 0)
      close(fd);
  }
  RunSetup(plan);
}

long Clone(const SetupPlan& plan, const Namespaces& namespaces, uint64_t flags, int* pidfd, int ours) {
  clone_args arguments = ArgumentsOf(namespaces, flags, pidfd);
  const long child = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child == 0)
    BeChild(plan, namespaces.cgroup, ours);
  return child;
}

// A child on a stack of its own, where it calls body(argument), which does not return.
#if defined(__x86_64__)
long CloneOnto(clone_args& arguments, void (*body)(void*), void* argument) {
  long result = SYS_clone3;
  register void (*r12)(void*) asm("r12") = body;
  register void* r13 asm("r13") = argument;
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "mov %%r13, %%rdi\n"
      "call *%%r12\n"
      "ud2\n"
      "1:\n"
      : "+a"(result)
      : "D"(&arguments), "S"(sizeof arguments), "r"(r12), "r"(r13)
      : "rcx", "r11", "memory", "cc");
  return result;
}
#elif defined(__aarch64__)
long CloneOnto(clone_args& arguments, void (*body)(void*), void* argument) {
  register long x8 asm("x8") = SYS_clone3;
  register long x0 asm("x0") = reinterpret_cast<long>(&arguments);
  register long x1 asm("x1") = sizeof arguments;
  register void (*x9)(void*) asm("x9") = body;
  register void* x10 asm("x10") = argument;
  asm volatile(
      "svc #0\n"
      "cbnz x0, 1f\n"
      "mov x29, xzr\n"
      "mov x0, x10\n"
      "blr x9\n"
      "brk #1\n"
      "1:\n"
      : "+r"(x0)
      : "r"(x1), "r"(x8), "r"(x9), "r"(x10)
      : "memory", "cc");
  return x0;
}
#endif

constexpr size_t kSharedStack = 1024 * 1024;

// Of a process that shares our memory. What grows beyond it hits nothing of ours, but dies.
class GuardedStack {
 public:
  GuardedStack() : guard_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    void* const made =
        mmap(nullptr, guard_ + kSharedStack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED)
      ThrowErrno("make a stack");
    start_ = static_cast<std::byte*>(made);
    if (mprotect(start_ + guard_, kSharedStack, PROT_READ | PROT_WRITE) < 0)
      ThrowErrno("make a stack");
  }
  GuardedStack(const GuardedStack&) = delete;
  GuardedStack& operator=(const GuardedStack&) = delete;
  ~GuardedStack() { munmap(start_, guard_ + kSharedStack); }
  uint64_t begin() const { return reinterpret_cast<uint64_t>(start_ + guard_); }

 private:
  size_t guard_;
  std::byte* start_ = nullptr;
};

// clang says by __has_feature what GCC says by macros.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define GANTRY_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GANTRY_SANITIZED 1
#endif

// A hook is a process that is forked, which takes a memory of its own. What a tmpfs begins with is charged to the group
// of whoever the memory was made by: not the container. Sanitizers know the stacks of threads alone.
bool CanShare([[maybe_unused]] const SetupPlan& plan) {
#if defined(GANTRY_SANITIZED) || !(defined(__x86_64__) || defined(__aarch64__))
  return false;
#else
  if (plan.bundle == nullptr || plan.bundle->hook_count > 0)
    return false;
  const std::span mounts(plan.bundle->mounts, plan.bundle->mount_count);
  return std::ranges::none_of(mounts, &MountPlan::copy_up);
#endif
}

// Those that our privileges reach first; then the user namespace, and with its privileges the rest.
Answer Enter(const Namespaces& namespaces) {
  const int* user = nullptr;
  std::array<bool, 16> done{};
  const auto enter = [&](bool last) -> Answer {
    for (size_t i = 0; i < namespaces.entered.size() && i < done.size(); ++i) {
      const auto& [flag, fd] = namespaces.entered[i];
      if (flag == CLONE_NEWUSER)
        user = &fd;
      else if (!done[i] && !(done[i] = setns(fd, flag) == 0) && (last || errno != EPERM))
        return {errno, flag};
    }
    return {};
  };
  if (const Answer answer = enter(false); answer.error != 0)
    return answer;
  if (user == nullptr)
    return enter(true);
  if (setns(*user, CLONE_NEWUSER) < 0)
    return {errno, CLONE_NEWUSER};
  return enter(true);
}

// What the container's process needs, and what it is made with. Whoever may trace processes of the container that it
// comes into could open what else it had of the host's: the process is there before it executes init (CVE-2016-9962).
std::vector<int> NeededInside(const SetupPlan& plan, const Namespaces& namespaces, int answers) {
  std::vector<int> keep = {answers, plan.control, plan.init, plan.output, plan.network, plan.late_top};
  if (!plan.entered)
    keep.push_back(namespaces.cgroup);
  keep.insert(keep.end(), plan.tasks, plan.tasks + plan.task_count);
  for (size_t i = 0; i < plan.volume_count; ++i) keep.push_back(plan.volumes[i].tree);
  if (plan.bundle != nullptr) {
    keep.push_back(plan.bundle->root_tree);
    for (size_t i = 0; i < plan.bundle->mount_count; ++i) keep.push_back(plan.bundle->mounts[i].tree);
  }
  return keep;
}

// In a process between: a pid namespace that was entered is that of its children, and other namespaces are not to be
// ours. The container's process becomes our child; that of a running container is made by init, after this one has
// given up what it can, so that no copy of the runner is ever seen in there.
[[noreturn]] void Intermediate(const SetupPlan& plan, const Namespaces& namespaces, int answers,
                               std::vector<int>& needed) {
  // Nobody in the namespaces that we enter is to look into us (CVE-2016-9962).
  prctl(PR_SET_DUMPABLE, 0);
  Answer answer = Enter(namespaces);
  if (answer.error == 0) {
    CloseAllBut(needed);
    if (plan.entered)
      RunSetup(plan);
    const long child = Clone(plan, namespaces, CLONE_PARENT, nullptr, -1);
    answer.error = child < 0 ? errno : 0;
    answer.pid = static_cast<pid_t>(child);
  }
  if (send(answers, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
    _exit(1);
  _exit(0);
}

// fork(2); into a control group of v2, unless that is -1. Then the child neither allocates nor frees: threads may hold
// locks.
pid_t ForkInto(int cgroup) {
  if (cgroup < 0)
    return fork();
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<uint64_t>(cgroup);
  return static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
}

const char* NameOf(int flag) {
  switch (flag) {
    case CLONE_NEWUSER:
      return "user";
    case CLONE_NEWPID:
      return "pid";
    case CLONE_NEWNET:
      return "network";
    case CLONE_NEWIPC:
      return "ipc";
    case CLONE_NEWUTS:
      return "uts";
    case CLONE_NEWNS:
      return "mount";
    case CLONE_NEWCGROUP:
      return "cgroup";
    default:
      return "time";
  }
}

[[noreturn]] void ThrowNotMade(const SetupPlan& plan, int error) {
  if (plan.user_namespace)
    ThrowNoUserNamespace(error);
  ThrowErrno("make the namespaces of the container", error);
}

void LaunchBetween(SetupPlan& plan, const Namespaces& namespaces, Launched& out) {
  auto [ours, theirs] = SocketPair(SOCK_SEQPACKET);
  HearWhoAnswers(ours.get());
  UniqueFd answers = AboveControl(theirs.get());
  theirs.Reset();
  if (plan.entered)
    plan.answers = answers.get();
  std::vector<int> needed = NeededInside(plan, namespaces, answers.get());
  const pid_t between = ForkInto(plan.entered ? namespaces.cgroup : -1);
  if (between < 0 && errno == EBUSY)
    throw Error(ErrorKind::kFailed, "the control group takes no process: it hands controllers down to those below",
                "give one below it");
  if (between < 0)
    ThrowErrno("fork");
  if (between == 0) {
    close(out.socket.get());
    close(ours.get());
    Intermediate(plan, namespaces, answers.get(), needed);
  }
  answers.Reset();
  const std::optional<Answer> received = ReceiveAnswer(ours.get(), between);
  while (waitpid(between, nullptr, 0) < 0 && errno == EINTR) {
  }
  // It failed before there was another: its report has come.
  if (!received && plan.entered)
    return;
  const Answer answer = received.value_or(Answer{EPIPE, 0, -1});
  if (answer.error != 0 && answer.flag != 0)
    ThrowErrno(std::string("enter the ") + NameOf(answer.flag) + " namespace", answer.error);
  if (answer.error != 0 && plan.entered)
    ThrowErrno("start a process in the container", answer.error);
  if (answer.error != 0)
    ThrowNotMade(plan, answer.error);
  out.pid = answer.pid;
  out.pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, answer.pid, 0)));
  if (!out.pidfd)
    ThrowErrno("open a pidfd");
}

}  // namespace

UniqueFd AboveControl(int fd) {
  UniqueFd out(fcntl(fd, F_DUPFD_CLOEXEC, kProcFd + 1));
  if (!out)
    ThrowErrno("duplicate a descriptor");
  return out;
}

Launched Launch(SetupPlan& plan, const Namespaces& namespaces) {
  Launched out;
  auto [ours, theirs] = SocketPair(SOCK_SEQPACKET);
  out.socket = std::move(ours);
  plan.control = theirs.get();
  if (!namespaces.entered.empty()) {
    LaunchBetween(plan, namespaces, out);
    return out;
  }
  int handle = -1;
  const long child = Clone(plan, namespaces, 0, &handle, out.socket.get());
  if (child < 0)
    ThrowNotMade(plan, errno);
  out.pid = static_cast<pid_t>(child);
  out.pidfd = UniqueFd(handle);
  return out;
}

Launching::Launching(SetupPlan& plan, const Namespaces& namespaces, EarlyNetwork* network)
    : plan_(plan), namespaces_(namespaces) {
  std::tie(ours_, theirs_) = SocketPair(SOCK_SEQPACKET);
  // Said a second time for a child that died before it could: then we may be gone.
  const auto make = [this, begun = begun_](bool made) {
    Make(made);
    *begun = 1;
    begun->notify_one();
  };
  if (network == nullptr || !network->Use(make))
    make(false);
}

// In the thread.
void Launching::Make(bool network_made) {
  plan_.network_made = network_made;
  if (!network_made && !plan_.host_network)
    namespaces_.made |= CLONE_NEWNET;
  try {
    if (network_made && CanShare(plan_) && namespaces_.entered.empty()) {
      MakeSharing();
      return;
    }
    launched_ = Launch(plan_, namespaces_);
  } catch (...) {
    error_ = std::current_exception();
  }
}

// The thread sleeps, and lends the child what is a thread's own, as errno, until init is executed.
void Launching::MakeSharing() {
#if defined(__x86_64__) || defined(__aarch64__)
  const GuardedStack stack;
  plan_.control = theirs_.get();
  clone_args arguments = ArgumentsOf(namespaces_, CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID, &handle_);
  arguments.parent_tid = reinterpret_cast<uint64_t>(&pid_);
  arguments.stack = stack.begin();
  arguments.stack_size = kSharedStack;
  const long child = CloneOnto(
      arguments,
      [](void* self) {
        auto& launching = *static_cast<Launching*>(self);
        const SetupPlan& plan = launching.plan_;
        const int cgroup = launching.namespaces_.cgroup;
        const int ours = launching.ours_.get();
        std::atomic<int>& begun = *launching.begun_;
        // From here on it is the caller's.
        begun = 1;
        begun.notify_one();
        BeChild(plan, cgroup, ours);
      },
      this);
  if (child < 0)
    ThrowNotMade(plan_, static_cast<int>(-child));
#endif
}

Launching::~Launching() {
  if (finished_)
    return;
  try {
    const Launched launched = Finish();
    if (launched.pid <= 0)
      return;
    kill(launched.pid, SIGKILL);
    while (waitpid(launched.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  } catch (const std::exception&) {
    // Nothing was made.
  }
}

Launched Launching::Finish() {
  finished_ = true;
  begun_->wait(0);
  theirs_.Reset();
  if (error_)
    std::rethrow_exception(error_);
  if (pid_ > 0)
    launched_ = {pid_, UniqueFd(handle_), std::move(ours_)};
  return std::move(launched_);
}

std::optional<Received> ReceiveReport(int socket) {
  Received out;
  Arrival arrival{};
  // ECONNRESET comes once, before what is still queued, when the other side ended without reading what we sent.
  do {
    arrival = ReceiveWithDescriptor(socket, std::as_writable_bytes(std::span(&out.report, 1)));
  } while (arrival.size < 0 && errno == ECONNRESET);
  if (arrival.size < 0)
    ThrowErrno("hear from the container");
  out.fd = UniqueFd(arrival.fd);
  if (arrival.size != static_cast<ssize_t>(sizeof out.report))
    return std::nullopt;
  return out;
}

void HearWhoAnswers(int socket) {
  const int on = 1;
  if (setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
    ThrowErrno("ask who answers");
}

std::optional<Answer> ReceiveAnswer(int socket, pid_t from) {
  for (;;) {
    Answer answer;
    iovec data = {&answer, sizeof answer};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR)
      continue;
    if (size <= 0)
      return std::nullopt;
    ucred who{};
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS &&
        header->cmsg_len == CMSG_LEN(sizeof who))
      std::memcpy(&who, CMSG_DATA(header), sizeof who);
    if (size == sizeof answer && who.pid == from)
      return answer;
  }
}

bool FailedMeanwhile() { return errno == EPIPE || errno == ECONNRESET; }

}  // namespace gantry::runner
