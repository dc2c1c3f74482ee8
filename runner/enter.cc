#include "runner/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/model/execution.h"
#include "runner/attend.h"
#include "runner/bundle_plan.h"
#include "runner/console.h"
#include "runner/container_state.h"
#include "runner/etc_files.h"
#include "runner/init_params.h"
#include "runner/launch.h"
#include "runner/process.h"
#include "runner/redirection.h"
#include "runner/user.h"

namespace gantry::runner {
namespace {

constexpr int kOwnFailure = 125;

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }

bool IsInOurUserNamespace(pid_t pid) {
  struct stat ours {};
  struct stat theirs {};
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/user";
  return stat("/proc/self/ns/user", &ours) == 0 && stat(path.c_str(), &theirs) == 0 && ours.st_ino == theirs.st_ino;
}

}  // namespace

RunConfig EnteredConfig(const AppPlan& app, const EnterOptions& options) {
  RunConfig out = app.config;
  out.args = options.args;
  out.terminal = options.terminal;
  out.interactive = options.interactive;
  if (options.user)
    out.user = *options.user;
  if (options.working_dir) {
    if (!options.working_dir->starts_with('/'))
      throw Error(ErrorKind::kUsage, "working directory " + Quoted(*options.working_dir) + " is not absolute");
    out.working_dir = image::CleanAbsolute(*options.working_dir);
  }
  for (const std::string& entry : options.env) {
    const std::string name = entry.substr(0, entry.find('='));
    std::erase_if(out.env, [&](const std::string& other) { return other.substr(0, other.find('=')) == name; });
    if (name.size() < entry.size())
      out.env.push_back(entry);
  }
  return out;
}

InitRequest EntryRequest(const RunConfig& config, const Credentials& who, const std::string& hostname,
                         std::span<const sock_filter> filter) {
  InitRequest out = RequestFor(config, who, hostname, filter);
  out.pre_start.clear();
  out.post_stop.clear();
  out.direct = true;
  out.owns_streams = config.terminal;
  if (!config.apparmor.empty())
    out.apparmor = "exec " + config.apparmor;
  out.selinux = config.selinux;
  return out;
}

uint64_t CapabilitiesOfEntry(const RunConfig& config) {
  return config.capabilities | Bit(CAP_CHOWN) | (config.new_privileges ? Bit(CAP_SYS_ADMIN) : 0) |
         (config.ulimits.empty() ? 0 : Bit(CAP_SYS_RESOURCE));
}

struct EnteredProcess::State {
  RunConfig config;
  pid_t pid = -1;
  UniqueFd pidfd, socket, master;
  std::optional<Failure> failure;
  bool blocked = false;
  sigset_t mask_before{};

  void Converse(const EntrySetup& setup, const InitRequest& request);
  void Unblock() {
    if (std::exchange(blocked, false))
      sigprocmask(SIG_SETMASK, &mask_before, nullptr);
  }
};

void EnteredProcess::State::Converse(const EntrySetup& setup, const InitRequest& request) {
  bool ready = false;
  while (auto received = ReceiveReport(socket.get())) {
    const auto kind = received->report.kind;
    if (kind == Report::kFailed) {
      failure = setup.Explain(received->report, request.process);
      if (failure->code == kOwnFailure)
        throw failure->error;
      // The hint is about a bundle, of which whoever is here knows nothing.
      failure->error = Error(failure->error.kind(), failure->error.message(), "see what the image holds");
      break;
    }
    if (kind == Report::kConsole)
      master = std::move(received->fd);
    if (kind != Report::kReady)
      continue;
    ready = true;
    const UniqueFd params = MakeInitParams(request);
    if (!PassDescriptor(socket.get(), params.get()) && !FailedMeanwhile())
      ThrowErrno("send the process its parameters");
  }
  if (!ready && !failure)
    throw Error(ErrorKind::kFailed, "the process ended before it was in the container", "did the container end?");
  socket.Reset();
}

EnteredProcess::EnteredProcess(std::unique_ptr<State> state) : state_(std::move(state)) {}
EnteredProcess::EnteredProcess(EnteredProcess&&) noexcept = default;

EnteredProcess::~EnteredProcess() {
  if (!state_)
    return;
  if (state_->pid > 0) {
    kill(state_->pid, SIGKILL);
    while (waitpid(state_->pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  state_->Unblock();
}

EnteredProcess EnteredProcess::Start(const AppPlan& app, const std::string& uuid, pid_t pid,
                                     const EnterOptions& options) {
  EnteredProcess out(std::make_unique<State>());
  State& state = *out.state_;
  state.config = EnteredConfig(app, options);
  if (IsInOurUserNamespace(pid))
    state.config.capabilities &= OwnCapabilities();
  const RunConfig& config = state.config;
  const Dir root(OpenFile("/proc/" + std::to_string(pid) + "/root", O_PATH | O_DIRECTORY), "the container's root");
  Credentials who = ResolveUser(root, config.user);
  who.groups.insert(who.groups.end(), config.groups.begin(), config.groups.end());
  InitRequest request = EntryRequest(config, who, ChooseHostname(config, uuid), FilterFor(config));
  BundleCgroup groups = BundleCgroup::OfProcess(pid);
  groups.OpenForJoining();
  EntrySetup setup(pid, groups, request.process, !request.apparmor.empty() || !request.selinux.empty(),
                   CapabilitiesOfEntry(config));
  request.keep_groups = setup.plan().single_id;
  // Its namespaces are open: if it lives now, they are its own.
  if (!StartTimeOf(pid))
    throw Error(ErrorKind::kFailed, "app " + Quoted(app.name) + " of pod " + uuid + " has ended");
  state.mask_before = BlockForwardedSignals();
  state.blocked = true;
  UniqueFd null;
  if (!config.interactive && !config.terminal)
    null = OpenFile("/dev/null", O_RDONLY);
  {
    const Redirection redirection({null.get(), -1, -1});
    Launched launched = Launch(setup.plan(), setup.namespaces());
    state.pid = launched.pid;
    state.pidfd = std::move(launched.pidfd);
    state.socket = std::move(launched.socket);
  }
  state.Converse(setup, request);
  return out;
}

EnteredProcess EnteredProcess::ByChild(const std::function<int()>& body) {
  EnteredProcess out(std::make_unique<State>());
  State& state = *out.state_;
  const pid_t parent = getpid();
  state.pid = fork();
  if (state.pid < 0)
    ThrowErrno("fork");
  if (state.pid == 0) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
      _exit(1);
    try {
      _exit(body());
    } catch (const std::exception& error) {
      dprintf(STDERR_FILENO, "%s\n", error.what());
      _exit(1);
    }
  }
  state.pidfd = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, state.pid, 0)));
  if (!state.pidfd)
    ThrowErrno("open a pidfd");
  return out;
}

const std::optional<Failure>& EnteredProcess::failure() const { return state_->failure; }
int EnteredProcess::pidfd() const { return state_->pidfd.get(); }
void EnteredProcess::Kill() const { syscall(SYS_pidfd_send_signal, pidfd(), SIGKILL, nullptr, 0); }

ExitStatus EnteredProcess::Wait() {
  std::unique_ptr<Console> console;
  if (state_->master)
    console = std::make_unique<Console>(std::move(state_->master), state_->config.interactive);
  const int status = Attend(state_->pid, pidfd(), console.get(), SIGTERM);
  state_->pid = -1;
  console.reset();
  state_->Unblock();
  return state_->failure ? ExitStatus{state_->failure->code} : ExitStatusOf(status);
}

ExitStatus EnteredProcess::Reap() {
  int status = 0;
  while (waitpid(state_->pid, &status, 0) < 0 && errno == EINTR) {
  }
  state_->pid = -1;
  state_->Unblock();
  return ExitStatusOf(status);
}

}  // namespace gantry::runner
