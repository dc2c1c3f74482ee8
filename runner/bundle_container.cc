#include "runner/bundle_container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "libimage/base/ascii.h"
#include "libimage/base/time_text.h"
#include "runner/attend.h"
#include "runner/bundle_machine.h"
#include "runner/bundle_plan.h"
#include "runner/bundle_process.h"
#include "runner/early_network.h"
#include "runner/own_program.h"
#include "runner/systemd_scope.h"
#include "runner/user.h"

namespace gantry::runner {
namespace {

constexpr int kDeleteAttempts = 10;  // of 10 ms
constexpr int kKillAttempts = 1000;
constexpr int kCreateAttempts = 100;
constexpr int kEndAttempts = 100;

bool Lenient(const RuntimeOptions& runtime) { return runtime.rootless.value_or(!IsHostRoot()); }

std::string Absolute(const std::string& base, const std::string& path) {
  return path.starts_with('/') ? path : base + "/" + path;
}

// One container in the making.
struct Making {
  const RuntimeOptions& runtime;
  const CreateOptions& options;
  Spec spec;
  ContainerDir dir;
  ContainerState state;
  std::unique_ptr<EarlyNetwork> network;
  std::optional<BundleProcess> process = std::nullopt;
  bool has_groups = false;  // that are its own: what is in them may be killed

  void Make(bool waits);
  void MakeInMachine(bool waits);
  void Discard();
};

// Whether the configuration seems to want a network namespace of its own, seen before it is parsed: it names the kind,
// and nothing after that. A mistake costs time.
bool SeemsToMakeNetwork(std::string_view config) {
  constexpr std::string_view kKind = "\"network\"";
  size_t at = config.find(kKind);
  at = at == std::string_view::npos ? at : config.find_first_not_of(" \t\r\n", at + kKind.size());
  return at != std::string_view::npos && config[at] == '}';
}

// Whether the process can join groups that are made later, by their names: with the view of the host and the privileges
// of who made them.
bool CanJoinLater(const Spec& spec) {
  return spec.Namespace(CLONE_NEWUSER) == nullptr && spec.NewNamespace(CLONE_NEWNS);
}

// The kernel passes over a file system's options when it binds: a misspelled one of a mount would go unnoticed. Engines
// leave some of their own.
void NoteIdleOptions(const SpecMount& mount, const Notes& note) {
  constexpr std::string_view kOfEngines[] = {"z", "Z", "U", "O", "copy", "nocopy"};
  for (const std::string& option : mount.options.data) {
    if (std::ranges::find(kOfEngines, option) == std::end(kOfEngines))
      note("option " + Quoted(option) + " of the mount at " + Quoted(mount.destination) +
           " has no effect: it is of no bind mount");
  }
}

// Not while another process is to be forked that goes on as we are, as the one that holds a scope of systemd.
bool MakesNetworkEarly(const RuntimeOptions& runtime, const Spec& spec) {
  return spec.NewNamespace(CLONE_NEWNET) && spec.Namespace(CLONE_NEWUSER) == nullptr && !runtime.systemd_cgroup &&
         !InMachine(spec.annotations);
}

// Whoever is there with the capability to trace could open what our process in there executes, until it is init. One of
// another user namespace cannot.
bool JoinsOthersPids(const Spec& spec) {
  return spec.Namespace(CLONE_NEWPID) != nullptr && !spec.NewNamespace(CLONE_NEWPID) &&
         spec.Namespace(CLONE_NEWUSER) == nullptr && !InMachine(spec.annotations);
}

Making Begin(const RuntimeOptions& runtime, const CreateOptions& options) {
  const std::string bundle = RealPath(options.bundle);
  const std::string file = options.config.empty() ? bundle + "/config.json" : options.config;
  const std::string text = ReadFile(file, kMaxSpecBytes);
  std::unique_ptr<EarlyNetwork> network;
  if (SeemsToMakeNetwork(text))
    network = std::make_unique<EarlyNetwork>(EarlyNetwork::For::kThread);
  Spec spec = Spec::Parse(text, file);
  if (!spec.process)
    throw Error(ErrorKind::kUnsupported, "the bundle has no process to start", "add process to its config.json");
  if (!MakesNetworkEarly(runtime, spec))
    network.reset();
  if (JoinsOthersPids(spec) && geteuid() == 0) {
    network.reset();
    RunFromReadOnlyMount();
  }
  if (spec.process->terminal && options.process.detach && options.process.console_socket.empty())
    throw Error(ErrorKind::kUsage, "cannot allocate tty if runtime will detach without setting console socket",
                "give --console-socket, or set process.terminal to false");
  if (!spec.process->terminal && options.process.detach && !options.process.console_socket.empty())
    throw Error(ErrorKind::kUsage, "cannot use console socket if runtime will not detach or allocate tty",
                "leave --console-socket out, or set process.terminal to true");
  for (SpecMount& mount : spec.mounts) {
    if (!mount.options.bind)
      continue;
    mount.source = Absolute(bundle, mount.source);
    NoteIdleOptions(mount, runtime.note);
  }
  ContainerState state;
  state.version = spec.version;
  state.id = options.id;
  state.bundle = bundle;
  state.rootfs = RealPath(Absolute(bundle, spec.root));
  state.created = NowText();
  state.owner = NameOnHost(getuid());
  state.annotations = spec.annotations;
  state.own_pids = spec.NewNamespace(CLONE_NEWPID);
  state.own_keys = !options.no_new_keyring;
  std::string group = spec.cgroups_path;
  if (runtime.systemd_cgroup) {
    const Scope scope = Scope::Parse(spec.cgroups_path, options.id);
    state.scope = scope.unit;
    group = scope.path;
  }
  if (!runtime.no_cgroups)
    state.cgroup = BundleCgroup::Locate(group, options.id, Lenient(runtime));
  ContainerDir dir = ContainerDir::Create(runtime.root, options.id);
  Making out{runtime, options, std::move(spec), std::move(dir), std::move(state), std::move(network)};
  out.dir.SaveConfig(text);
  return out;
}

// Those of a configuration that is not there any more cannot be run, and are no reason to keep the rest.
std::vector<SpecHook> PoststopHooks(const ContainerDir& dir, const Notes& note) {
  try {
    return Spec::Parse(dir.LoadConfig(), "config.json").hooks.poststop;
  } catch (const Error& error) {
    note(error.message());
    return {};
  }
}

void RunPoststop(const std::vector<SpecHook>& hooks, const ContainerState& state, const Notes& note) {
  for (const std::string& failure : RunRuntimeHooks(hooks, json::Print(state.Print(Status::kStopped, 0)), false))
    note(failure);
}

void Discard(const ContainerDir& dir, const ContainerState& state) {
  // Without a process, whoever made it died early: what is in its groups, if anything, is dying too, or another's.
  if (state.pid == 0) {
    state.cgroup.RemoveEmpty();
    dir.Remove();
    return;
  }
  if (!state.cgroup.Remove())
    throw Error(ErrorKind::kFailed, "a control group of container " + Quoted(state.id) + " could not be removed",
                "a process in it does not die; try again later");
  dir.Remove();
}

void Making::Discard() {
  process.reset();
  try {
    if (!has_groups)
      state.pid = 0;
    runner::Discard(dir, state);
  } catch (const Error& error) {
    runtime.note(error.message());
  }
}

void Making::MakeInMachine(bool waits) {
  ProcessSurroundings around{runtime, options.process, &dir, &state};
  std::optional<ScopeHolder> holder;
  if (runtime.systemd_cgroup)
    holder.emplace(Scope::Parse(spec.cgroups_path, options.id));
  dir.Save(state);
  state.cgroup.Make(ResourcesOfMachine(spec.resources), holder.has_value());
  has_groups = true;
  dir.Save(state);
  process.emplace(BundleProcess::StartInMachine(spec, around, waits));
  if (!options.process.pid_file.empty())
    WritePidFile(options.process.pid_file, state.pid);
}

void Making::Make(bool waits) {
  if (InMachine(spec.annotations)) {
    MakeInMachine(waits);
    return;
  }
  ProcessSurroundings around{runtime, options.process, &dir, &state};
  around.place = {options.id, state.bundle, state.rootfs, !options.no_pivot, state.own_keys, IsHostRoot()};
  around.place.early_network = network != nullptr;
  around.network = network.get();
  std::optional<ScopeHolder> holder;
  if (runtime.systemd_cgroup)
    holder.emplace(Scope::Parse(spec.cgroups_path, options.id));
  dir.Save(state);
  const auto make_groups = [&] {
    if (runtime.no_cgroups && !spec.resources.devices.empty()) {
      runtime.note("the container's device rules are not enforced: control groups are disabled");
      spec.resources.devices.clear();
    }
    state.cgroup.Make(spec.resources, holder.has_value());
    has_groups = true;
  };
  if (network != nullptr && CanJoinLater(spec) && state.cgroup.Begin()) {
    around.make_groups = make_groups;
  } else {
    make_groups();
    state.cgroup.OpenForJoining();
  }
  process.emplace(BundleProcess::StartNew(spec, around, waits));
  if (!options.process.pid_file.empty())
    WritePidFile(options.process.pid_file, state.pid);
}

// The command goes on only when the container does. What failed goes on as if it were deleted, with the hooks of that.
template <typename Body>
auto Undoing(Making& making, Body body) {
  try {
    return body();
  } catch (...) {
    making.Discard();
    RunPoststop(making.spec.hooks.poststop, making.state, making.runtime.note);
    throw;
  }
}

void Pause10Ms() {
  const timespec pause = {0, 10'000'000};
  nanosleep(&pause, nullptr);
}

void AwaitEnd(const ContainerState& state, int attempts) {
  for (int i = 0; i < attempts && state.Alive(); ++i) Pause10Ms();
}

void EndProcess(const ContainerState& state) {
  if (state.Alive())
    kill(state.pid, SIGKILL);
  AwaitEnd(state, kKillAttempts);
}

// Of a container whose process is its own: until it is set up, that has the host's file systems. Whoever saw the
// program of `run` may be here before the runtime has written down that it is.
ContainerState LoadRunning(const ContainerDir& dir) {
  ContainerState state = dir.Load();
  Status status = dir.StatusOf(state);
  for (int i = 0; i < kCreateAttempts && state.pid != 0 && status == Status::kCreating; ++i) {
    Pause10Ms();
    state = dir.Load();
    status = dir.StatusOf(state);
  }
  if (status == Status::kCreating)
    throw Error(ErrorKind::kFailed, "container not running: " + Quoted(dir.id()) + " is being created",
                "try again when that has ended");
  if (status == Status::kStopped)
    throw Error(ErrorKind::kFailed, "container not running: " + Quoted(dir.id()) + " is stopped",
                "remove it with: gantry-oci delete " + dir.id());
  return state;
}

}  // namespace

void Create(const RuntimeOptions& runtime, const CreateOptions& options) {
  Making making = Begin(runtime, options);
  Undoing(making, [&] {
    making.Make(true);
    making.process->Leave();
  });
}

ExitStatus Run(const RuntimeOptions& runtime, const CreateOptions& options) {
  Making making = Begin(runtime, options);
  return Undoing(making, [&]() -> ExitStatus {
    making.Make(false);
    const json::Object state = making.state.Print(Status::kRunning, making.state.pid);
    RunRuntimeHooks(making.spec.hooks.poststart, json::Print(state), true);
    if (options.process.detach) {
      making.process->Leave();
      return {};
    }
    const ExitStatus status = making.process->Wait();
    if (!options.keep) {
      Discard(making.dir, making.state);
      RunPoststop(making.spec.hooks.poststop, making.state, runtime.note);
    }
    return status;
  });
}

void Start(const RuntimeOptions& runtime, const std::string& id) {
  const ContainerDir dir = ContainerDir::Open(runtime.root, id);
  const ContainerState state = dir.Load();
  const Status status = dir.StatusOf(state);
  if (status != Status::kCreated)
    throw Error(ErrorKind::kFailed,
                "cannot start a container that is not created: " + Quoted(id) + " is " + ToString(status));
  const Spec spec = Spec::Parse(dir.LoadConfig(), "config.json");
  const UniqueFd socket = dir.Connect();
  dir.RemoveSocket();
  // What does not start has ended by the time we say so, with a code of its own if it can, and is deleted by whoever
  // created it.
  bool executed = false;
  try {
    AwaitExecution(socket.get(), spec);
    executed = true;
    RunRuntimeHooks(spec.hooks.poststart, json::Print(state.Print(Status::kRunning, state.pid)), true);
  } catch (...) {
    if (!executed)
      AwaitEnd(state, kEndAttempts);
    EndProcess(state);
    throw;
  }
}

SpecProcess ConfiguredProcess(const RuntimeOptions& runtime, const std::string& id) {
  const Spec spec = Spec::Parse(ContainerDir::Open(runtime.root, id).LoadConfig(), "config.json");
  return spec.process.value_or(SpecProcess{});
}

ExitStatus Exec(const RuntimeOptions& runtime, const ExecOptions& options) {
  const ContainerDir dir = ContainerDir::Open(runtime.root, options.id);
  ContainerState state = LoadRunning(dir);
  const Status status = dir.StatusOf(state);
  if (status == Status::kPaused && !options.ignore_paused)
    throw Error(ErrorKind::kFailed, "cannot exec in a paused container", "resume it, or give --ignore-paused");
  if (options.process.terminal && options.options.detach && options.options.console_socket.empty())
    throw Error(ErrorKind::kUsage, "cannot allocate tty if runtime will detach without setting console socket",
                "give --console-socket, or leave --tty out");
  const Spec spec = Spec::Parse(dir.LoadConfig(), "config.json");
  const bool machine = InMachine(spec.annotations);
  if (machine && !options.cgroup.empty())
    throw Error(ErrorKind::kUnsupported, "the control groups of a process in a virtual machine cannot be chosen",
                "leave --cgroup out");
  if (!options.cgroup.empty())
    state.cgroup.Descend(options.cgroup);
  else if (!machine)
    state.cgroup.Follow(state.pid);
  if (!machine)
    state.cgroup.OpenForJoining();
  ProcessSurroundings around{runtime, options.options, &dir, &state};
  around.place = {options.id, state.bundle, state.rootfs, true, false, IsHostRoot()};
  BundleProcess process = machine ? BundleProcess::EnterMachine(spec, options.process, around)
                                  : BundleProcess::StartInside(spec, options.process, around);
  if (!options.options.pid_file.empty())
    WritePidFile(options.options.pid_file, process.pid());
  if (options.options.detach) {
    process.Leave();
    return {};
  }
  return process.Wait();
}

void Kill(const RuntimeOptions& runtime, const std::string& id, int signal, bool all) {
  const ContainerDir dir = ContainerDir::Open(runtime.root, id);
  const ContainerState state = dir.Load();
  const bool alive = state.Alive();
  const bool machine = InMachine(state.annotations);
  if (!machine && (all || (!state.own_pids && signal == SIGKILL))) {
    const std::vector<pid_t> members = state.cgroup.Processes();
    for (const pid_t pid : members) kill(pid, signal);
    if (alive && std::ranges::find(members, state.pid) == members.end())
      kill(state.pid, signal);
    return;
  }
  const UniqueFd pidfd(alive ? static_cast<int>(syscall(SYS_pidfd_open, state.pid, 0)) : -1);
  // Looked at once more with the descriptor open: then the number cannot become another's.
  const auto send = [&] {
    return machine ? SignalAttendant(pidfd.get(), signal)
                   : syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0;
  };
  if (!pidfd || !state.Alive() || !send())
    throw Error(ErrorKind::kFailed, "container not running: " + Quoted(id) + " is stopped",
                "remove it with: gantry-oci delete " + id);
}

void Delete(const RuntimeOptions& runtime, const std::string& id, bool force) {
  std::optional<ContainerDir> dir;
  try {
    dir.emplace(ContainerDir::Open(runtime.root, id));
  } catch (const Error& error) {
    if (force && error.kind() == ErrorKind::kNotFound)
      return;
    throw;
  }
  if (!dir->dir().Exists(RelPath::Parse("state.json"))) {
    // Its creator died before there was anything but this.
    dir->Remove();
    return;
  }
  const ContainerState state = dir->Load();
  Status status = dir->StatusOf(state);
  // Whoever saw the process end may be here before the kernel has taken it apart.
  for (int i = 0; i < kDeleteAttempts && !force && status == Status::kRunning; ++i) {
    Pause10Ms();
    status = dir->StatusOf(state);
  }
  if (!force && status != Status::kStopped && status != Status::kCreated)
    throw Error(ErrorKind::kFailed,
                "cannot delete container " + Quoted(id) + " that is not stopped: " + ToString(status),
                "kill it first, or give --force");
  if (status == Status::kPaused)
    state.cgroup.Freeze(false);
  EndProcess(state);
  const std::vector<SpecHook> hooks = PoststopHooks(*dir, runtime.note);
  Discard(*dir, state);
  RunPoststop(hooks, state, runtime.note);
}

void Pause(const RuntimeOptions& runtime, const std::string& id, bool pause) {
  const ContainerDir dir = ContainerDir::Open(runtime.root, id);
  const ContainerState state = LoadRunning(dir);
  const Status status = dir.StatusOf(state);
  if (pause && status != Status::kRunning && status != Status::kCreated)
    throw Error(ErrorKind::kFailed, "container not running: " + Quoted(id) + " is " + ToString(status));
  if (!pause && status != Status::kPaused)
    throw Error(ErrorKind::kFailed, "container not paused: " + Quoted(id) + " is " + ToString(status));
  state.cgroup.Freeze(pause);
}

void Update(const RuntimeOptions& runtime, const std::string& id, const SpecResources& resources) {
  const ContainerDir dir = ContainerDir::Open(runtime.root, id);
  ContainerState state = LoadRunning(dir);
  if (InMachine(state.annotations))
    RequireMachineUpdates(resources);
  state.cgroup.Apply(resources, !resources.devices.empty());
}

}  // namespace gantry::runner
