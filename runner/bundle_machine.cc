#include "runner/bundle_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "runner/bundle_process.h"
#include "runner/filter_compiler.h"

namespace gantry::runner {
namespace {

constexpr const char* kProgram = "gantry-oci-machine";
constexpr int kAboveAll = 16;  // of the descriptors that it has by number
constexpr MessageBounds kBounds{4, 64 * 1024, "the attendant of the virtual machine"};

UniqueFd Above(int fd) {
  UniqueFd out(fcntl(fd, F_DUPFD_CLOEXEC, kAboveAll));
  if (!out)
    ThrowErrno("duplicate a descriptor");
  return out;
}

// Where programs lie that nobody calls by name.
std::string FindAttendant() {
  std::string file = ProgramDirectory() + "/../libexec/gantry/" + kProgram;
  if (access(file.c_str(), X_OK) == 0)
    return file;
  throw Error(ErrorKind::kUnsupported, Quoted(file) + " is not installed",
              "install it, or leave the annotation dev.gantry.isolation out");
}

// A terminal whose other end is the caller's: what the attendant reads from it is as it was written.
std::pair<UniqueFd, UniqueFd> MakeTerminal() {
  UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master || grantpt(master.get()) < 0 || unlockpt(master.get()) < 0)
    ThrowErrno("make a terminal");
  UniqueFd slave(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios mode{};
  if (!slave || tcgetattr(slave.get(), &mode) < 0)
    ThrowErrno("make a terminal");
  cfmakeraw(&mode);
  tcsetattr(slave.get(), TCSANOW, &mode);
  return {std::move(master), std::move(slave)};
}

struct AttendantPlan {
  std::string program;
  std::vector<std::string> args;
  UniqueFd channel, input, terminal;
  bool own_session = false;
};

// Until there is a container, it dies with us.
[[noreturn]] void Execute(const AttendantPlan& plan, char* const* arguments, pid_t parent) {
  if (plan.own_session)
    setsid();
  bool good = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
  for (int fd = 0; fd <= 2 && plan.terminal; ++fd) good = good && dup2(plan.terminal.get(), fd) >= 0;
  if (plan.terminal)
    ioctl(STDIN_FILENO, TIOCSCTTY, 0);
  good = good && dup2(plan.channel.get(), kAttendantFd) >= 0;
  if (plan.input)
    good = good && dup2(plan.input.get(), kAttendantInputFd) >= 0;
  syscall(SYS_close_range, kAttendantFd + (plan.input ? 2 : 1), ~0U, 0);
  if (good)
    execv(plan.program.c_str(), arguments);
  _exit(125);
}

pid_t Fork(const AttendantPlan& plan) {
  std::vector<char*> arguments = {const_cast<char*>(kProgram)};
  for (const std::string& arg : plan.args) arguments.push_back(const_cast<char*>(arg.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0)
    ThrowErrno("fork");
  if (pid == 0)
    Execute(plan, arguments.data(), parent);
  return pid;
}

// Until it is what it was asked for; throws what was in the way.
void AwaitAttendant(int channel, const SpecProcess& process, const Notes& note) {
  while (auto message = ReceiveMessage(channel, kBounds)) {
    if (message->kind == kAttendantReady)
      return;
    const std::string text = message->fields.empty() ? "" : message->fields.front();
    Report report;
    if (message->kind == kAttendantNote) {
      note(text);
    } else if (message->kind == kAttendantReport && text.size() == sizeof report) {
      std::memcpy(&report, text.data(), sizeof report);
      throw EntrySetup::Explain(report, process).error;
    }
  }
  throw Error(ErrorKind::kFailed, "the attendant of the virtual machine ended early",
              "was it killed? see the kernel's log for 'Out of memory'");
}

void RequireNoDescriptors(const ProcessOptions& options) {
  if (options.preserve_fds > 0 || getenv("LISTEN_FDS") != nullptr)
    throw Error(ErrorKind::kUnsupported, "a virtual machine cannot have descriptors of the host's (--preserve-fds)",
                "leave them out, or leave the annotation dev.gantry.isolation out");
}

}  // namespace

bool InMachine(const std::map<std::string, std::string>& annotations) {
  const auto isolation = annotations.find(kIsolationAnnotation);
  return isolation != annotations.end() && isolation->second == "vm";
}

SpecResources ResourcesOfMachine(const SpecResources& resources) {
  SpecResources out = resources;
  out.memory.limit.reset();                                                 // how much it has
  out.memory.swap.reset();                                                  // none
  out.pids.reset();                                                         // counted in it
  out.devices = {{.allow = true, .type = 'c', .major = 10, .minor = 232}};  // /dev/kvm; the rest holds in it
  return out;
}

void RequireMachineUpdates(const SpecResources& resources) {
  const char* const what = resources.memory.limit || resources.memory.swap ? "memory"
                           : resources.pids                                ? "pids"
                           : !resources.devices.empty()                    ? "devices"
                                                                           : nullptr;
  if (what != nullptr)
    throw Error(ErrorKind::kUnsupported,
                "the container is in a virtual machine, whose limit of " + std::string(what) + " cannot change",
                "make a new one");
}

InitRequest RequestInMachine(const Spec& spec, const SpecProcess& process, std::span<const sock_filter> filter) {
  InitRequest out;
  out.process = process;
  out.process.oom_score_adj.reset();
  // As in namespaces: the kernel raises no other.
  SpecCapabilities& sets = out.process.capabilities;
  sets.ambient &= sets.permitted & sets.inheritable;
  out.direct = true;
  out.owns_streams = true;
  out.filter = filter;
  if (spec.seccomp)
    out.filter_flags = spec.seccomp->flags;
  return out;
}

bool SignalAttendant(int pidfd, int signal) {
  if (signal == SIGKILL || signal == 0)
    return syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0;
  siginfo_t asked{};
  asked.si_signo = kAskedSignal;
  asked.si_code = SI_QUEUE;
  asked.si_pid = getpid();
  asked.si_uid = getuid();
  asked.si_value.sival_int = signal;
  return syscall(SYS_pidfd_send_signal, pidfd, kAskedSignal, &asked, 0) == 0;
}

void BundleProcess::Attend(const ProcessSurroundings& around, const SpecProcess& process, const std::string& verb,
                           UniqueFd input) {
  RequireNoDescriptors(around.options);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  AttendantPlan plan{FindAttendant(), {verb, around.runtime.root, around.state->id}, Above(theirs.get()), {}, {}};
  if (input)
    plan.input = Above(input.get());
  if (process.terminal && !around.options.console_socket.empty()) {
    auto [master, slave] = MakeTerminal();
    master_ = std::move(master);
    plan.terminal = Above(slave.get());
  }
  if (process.terminal)
    plan.args.emplace_back("--terminal");
  // In the foreground it shares the caller's terminal, and hears of it as we do.
  plan.own_session = around.options.detach || plan.terminal || !process.terminal;
  theirs.Reset();
  pid_ = Fork(plan);
  plan.channel.Reset();
  pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_)
    ThrowErrno("open a process");
  socket_ = std::move(ours);
}

BundleProcess BundleProcess::StartInMachine(const Spec& spec, ProcessSurroundings& around, bool waits) {
  if (!IsHostRoot())
    throw Error(ErrorKind::kUnsupported, "only root of this machine can run a bundle in a virtual machine",
                "run it as root, or an image with: gantry run --isolation=vm");
  BundleProcess out;
  UniqueFd listener;
  if (waits)
    listener = around.dir->Listen();
  if (!waits && !around.options.detach)
    out.BlockSignals();
  out.Attend(around, *spec.process, waits ? "create" : "run", std::move(listener));
  around.state->pid = out.pid_;
  around.state->start_time = StartTimeOf(out.pid_).value_or(0);
  around.dir->Save(*around.state);
  AwaitAttendant(out.socket_.get(), *spec.process, around.runtime.note);
  around.state->set_up = true;
  around.dir->Save(*around.state);
  out.socket_.Reset();
  out.HandOver(around, *spec.process);
  return out;
}

BundleProcess BundleProcess::EnterMachine(const Spec& spec, const SpecProcess& process, ProcessSurroundings& around) {
  BundleProcess out;
  const std::vector<sock_filter> filter = spec.seccomp ? CompileFilter(*spec.seccomp) : std::vector<sock_filter>();
  if (!process.apparmor_profile.empty() || !process.selinux_label.empty())
    throw Error(ErrorKind::kUnsupported, "a virtual machine has no security labels",
                "leave process.apparmorProfile and process.selinuxLabel out");
  if (!process.first_affinity.empty() || !process.final_affinity.empty())
    throw Error(ErrorKind::kUnsupported, "a virtual machine has processors of its own",
                "leave process.execCPUAffinity out");
  if (!around.options.detach)
    out.BlockSignals();
  out.Attend(around, process, "exec", MakeInitParams(RequestInMachine(spec, process, filter)));
  AwaitAttendant(out.socket_.get(), process, around.runtime.note);
  out.socket_.Reset();
  out.HandOver(around, process);
  return out;
}

}  // namespace gantry::runner
