#include "runner/vm/virtual_machine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "runner/attend.h"
#include "runner/bundle_cgroup.h"
#include "runner/confined_program.h"
#include "runner/container_state.h"
#include "runner/etc_files.h"
#include "runner/event_loop.h"
#include "runner/health.h"
#include "runner/init_params.h"
#include "runner/limits.h"
#include "runner/report.h"
#include "runner/setup.h"
#include "runner/vm/caller_streams.h"
#include "runner/vm/entry.h"
#include "runner/vm/guest_channel.h"
#include "runner/vm/guest_process.h"
#include "runner/vm/initramfs.h"
#include "runner/vm/job.h"
#include "runner/vm/kernel.h"
#include "runner/vm/machine.h"
#include "runner/vm/pack_job.h"
#include "runner/vm/pod_streams.h"
#include "runner/vm/share.h"

namespace gantry::runner::vm {
namespace {

constexpr int kBootSeconds = 20;
constexpr int kEmulatedBootSeconds = 120;
constexpr const char* kProgram = "qemu-system-x86_64";

std::vector<std::string> ModulesFor(const std::string& root_type, bool shares) {
  std::vector<std::string> out = {"virtio_mmio", "virtio_blk", "virtio_console", root_type, "overlay"};
  if (shares)
    out.emplace_back("virtiofs");
  return out;
}

bool NeedsShares(const RunConfig& config) {
  return std::ranges::any_of(config.volumes, [](const Volume& volume) { return volume.kind != Volume::Kind::kTmpfs; });
}

// What namespaces give and machines do not, or not yet.
std::vector<std::string> BeyondMachines(const RunConfig& config) {
  const Limits& limits = config.limits;
  std::vector<std::string> out;
  const auto add = [&](bool wanted, const std::string& what) {
    if (wanted)
      out.push_back(what);
  };
  for (const Volume& volume : config.volumes) {
    add(!volume.recursive, "volume " + Quoted(volume.target) + " without what is mounted below it");
  }
  for (const Secret& secret : config.secrets) add(true, "secret " + Quoted(secret.name));
  for (const DeviceNode& device : config.devices) add(true, "device " + Quoted(device.source));
  add(limits.memory_swap || limits.memory_reservation, "limits of swap or reserved memory");
  add(limits.cpu_shares || !limits.cpus.empty() || !limits.memory_nodes.empty(),
      "shares and sets of processors or memory nodes");
  add(limits.io_weight || !limits.rates.empty(), "limits of input and output");
  add(config.oom_score_adj.has_value(), "an OOM score");
  add(config.new_privileges, "no-new-privileges=false");
  add(!config.apparmor.empty(), "AppArmor profile " + Quoted(config.apparmor));
  add(!config.selinux.empty(), "SELinux label " + Quoted(config.selinux));
  add(!config.pre_start.empty() || !config.post_stop.empty(), "event handlers");
  add(config.sockets > 0, "sockets of systemd");
  return out;
}

// A copy that nobody changes between its digest and its use. It is removed with the pod.
Digest CopyMeasured(const std::string& from, const std::string& to) {
  const UniqueFd in = OpenFile(from, O_RDONLY);
  const UniqueFd out = OpenFile(to, O_WRONLY | O_CREAT | O_EXCL, 0444);
  Hasher hasher;
  std::vector<std::byte> buffer(kBlockBytes);
  for (uint64_t at = 0;;) {
    const auto piece = std::span(buffer).first(ReadFullAt(in.get(), at, buffer, from));
    hasher.Update(piece);
    WriteFull(out.get(), piece, to);
    at += piece.size();
    if (piece.size() < buffer.size())
      return hasher.Finish();
  }
}

// The machine's own groups: the limits of the app are set in the guest.
std::pair<BundleCgroup, std::string> MakeMachineGroups(const Pod& pod, bool kvm) {
  RunConfig machine;
  if (kvm)
    machine.devices.push_back({"/dev/kvm", "/dev/kvm"});
  return MakeGroups(machine, pod.GroupName(pod.plan().apps.front().name));
}

}  // namespace

MachineParts FindMachineParts(const MachineOptions& options) {
  const std::string program = FindHostProgram(kProgram);
  if (program.empty())
    throw Error(ErrorKind::kUnsupported, std::string(kProgram) + " is not installed",
                "install qemu-system-x86, or run without --isolation=vm");
  // A link would lead out of what the program is shown of the system.
  return {options, RealPath(program), FindKernel(options.kernel), FindRootMaker()};
}

MachineSize SizeOf(const Limits& limits) {
  constexpr int64_t kMib = 1024 * 1024;
  constexpr int64_t kMinMib = 64;
  constexpr uint64_t kPeriod = 100'000;  // of Limits::cpu_microseconds
  constexpr uint64_t kMaxCpus = 64;
  MachineSize out;
  if (limits.memory && *limits.memory < kMinMib * kMib)
    throw Error(ErrorKind::kUsage,
                std::to_string(*limits.memory) + " bytes of memory are too little for a virtual machine",
                "give at least --memory 64M");
  if (limits.memory)
    out.memory_mib = static_cast<uint64_t>((*limits.memory - 1) / kMib + 1);
  if (limits.cpu_microseconds && *limits.cpu_microseconds > kMaxCpus * kPeriod)
    throw Error(ErrorKind::kUsage, "a virtual machine has at most 64 processors", "give --cpus 64, or fewer");
  if (limits.cpu_microseconds)
    out.cpus = static_cast<unsigned>(std::max<uint64_t>((*limits.cpu_microseconds + kPeriod - 1) / kPeriod, 1));
  return out;
}

void RequireMachineCan(const RunConfig& config) {
#if !defined(__x86_64__)
  throw Error(ErrorKind::kUnsupported, "virtual machines are for x86-64 alone", "run without --isolation=vm");
#endif
  if (config.network != Network::kNone)
    throw Error(ErrorKind::kUnsupported,
                config.network == Network::kHost ? "a virtual machine cannot have the host's network"
                                                 : "a virtual machine cannot have a network yet",
                "run it with --net=none, or without --isolation=vm");
  if (config.volumes.size() > kMaxJobVolumes)
    throw Error(ErrorKind::kUnsupported, "a virtual machine takes at most 16 volumes", "show a directory above them");
  std::string list;
  for (const std::string& one : BeyondMachines(config)) list += (list.empty() ? "" : "; ") + one;
  if (!list.empty())
    throw Error(ErrorKind::kUnsupported, "a virtual machine cannot give an app: " + list,
                "leave it out, or run without --isolation=vm");
  SizeOf(config.limits);
}

void RequireParts(const RunConfig& config, const MachineParts& parts) {
  const bool shares = NeedsShares(config);
  if (shares)
    RequireShareServer();
  ModuleFiles(parts.kernel, ModulesFor(parts.root_maker.type, shares));
}

// Files that the machine is started with.
struct BootFiles {
  std::string kernel, initramfs;
};

struct VirtualMachine::State {
  explicit State(Pod& of) : pod(of) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Pod& pod;
  RunConfig config;
  sigset_t mask_before{};
  bool blocked = false;
  std::string hostname;
  std::string note;
  BundleCgroup cgroup;
  std::vector<sock_filter> filter;
  std::vector<Share> shares;
  std::vector<bool> directories;  // for each volume, whether its share is one
  std::optional<gantry::Process> machine;
  EventLoop loop;
  std::unique_ptr<GuestChannel> channel;
  std::unique_ptr<GuestProcess> process;
  std::unique_ptr<CallerSignals> signals;
  std::unique_ptr<CallerStreams> caller;  // one of these two
  std::unique_ptr<PodStreams> detached;
  std::optional<Error> failure;
  std::optional<ExitStatus> ended;  // before there was an application
  bool keeps_changes = false;

  ~State() {
    machine.reset();
    if (blocked)
      sigprocmask(SIG_SETMASK, &mask_before, nullptr);
  }

  void LaunchMachine(const BootFiles& files, Machine plan, const RootImage& root, int port, int console);
  // The copies that were measured.
  BootFiles Measure(const RootImage& root, const BootFiles& files);
  void MakeStreams(UniqueFd port, UniqueFd console, std::optional<LogLimits> logs);
  void Until(const std::function<bool()>& done, int seconds, std::string_view did);
  void Converse(const RootImage& root, int seconds);
  void TakeReport(const Report& report);
  ExitStatus Attend(const std::function<void()>& settled);
};

void VirtualMachine::State::LaunchMachine(const BootFiles& files, Machine plan, const RootImage& root, int port,
                                          int console) {
  ConfinedProgram program;
  program.kvm = plan.accelerator == Accelerator::kKvm;
  std::tie(cgroup, note) = MakeMachineGroups(pod, program.kvm);
  program.cgroup = &cgroup;
  program.fds = {port, console, root.file.get()};
  for (const Volume& volume : config.volumes) {
    directories.push_back(false);
    if (volume.kind == Volume::Kind::kTmpfs)
      continue;
    shares.push_back(StartShare(volume, shares.size(), pod, cgroup));
    directories.back() = shares.back().directory;
    program.fds.push_back(shares.back().connection.get());
  }
  plan.shares = shares.size();
  program.args = MachineArguments(plan);
  program.output = console;
  program.places = {{files.kernel, kKernelPath}, {files.initramfs, kInitramfsPath}};
  program.root = pod.Path("upper");
  machine.emplace(StartConfined(program, pod));
  cgroup.CloseDescriptors();
  pod.Append({PodEvent::Kind::kStarted, pod.plan().apps.front().name, machine->pid(),
              StartTimeOf(machine->pid()).value_or(0)});
}

BootFiles VirtualMachine::State::Measure(const RootImage& root, const BootFiles& files) {
  BootFiles out{pod.Path("work/kernel"), pod.Path("work/initramfs")};
  PodEvent event{PodEvent::Kind::kMeasured, pod.plan().apps.front().name};
  event.digests.emplace("root", root.digest);
  event.digests.emplace("kernel", CopyMeasured(files.kernel, out.kernel));
  event.digests.emplace("initramfs", CopyMeasured(files.initramfs, out.initramfs));
  pod.Append(event);
  return out;
}

void VirtualMachine::State::MakeStreams(UniqueFd port, UniqueFd console, std::optional<LogLimits> logs) {
  channel = std::make_unique<GuestChannel>(std::move(port), std::move(console), loop);
  process = std::make_unique<GuestProcess>(
      GuestProcess::Surroundings{.send = [this](FrameType type, uint8_t stream,
                                                std::string_view payload) { channel->Send(0, type, stream, payload); },
                                 .fail = [this](std::string_view did) { channel->Fail(did); },
                                 .failed = [this](const Report& report) { TakeReport(report); }});
  channel->Serve(0, [this](const Frame& frame) { process->Take(frame); });
  signals = std::make_unique<CallerSignals>(loop, *process, config.stop_signal);
  if (logs)
    detached = std::make_unique<PodStreams>(loop, *process, pod, pod.plan().apps.front(), *logs);
  else
    caller = std::make_unique<CallerStreams>(loop, *process, *signals, config.terminal, config.interactive);
}

void VirtualMachine::State::TakeReport(const Report& report) {
  const SetupPlan nothing;
  Failure failed = Explain(report, config, nothing);
  if (failed.code == 125)
    throw std::move(failed.error);
  failure = std::move(failed.error);
}

// Or until a signal of the caller's ends it before.
void VirtualMachine::State::Until(const std::function<bool()>& done, int seconds, std::string_view did) {
  bool late = false;
  const uint64_t timer = loop.After(int64_t{seconds} * 1000, [&] { late = true; });
  loop.Run([&] { return done() || late || channel->ended() || signals->ended_by() != 0; });
  loop.Cancel(timer);
  if (signals->ended_by() != 0)
    ended = ExitStatus{128 + signals->ended_by(), false};
  else if (!done())
    channel->Fail(late ? did : "ended before the application was started");
}

void VirtualMachine::State::Converse(const RootImage& root, int seconds) {
  // While the kernel starts; the guest mounts nothing before it gets its job.
  CheckRootImage(root);
  Until([&] { return channel->hello(); }, seconds, "did not start in time");
  if (ended)
    return;
  process->SendBlob(FrameType::kJob, PackJob(config, MakeEtcFiles(config, hostname, nullptr), hostname, root.type,
                                             directories, keeps_changes));
  Until([&] { return process->has_root(); }, seconds, "did not make the container in time");
  if (ended)
    return;
  Credentials who = ResolveUser(process->accounts(), config.user);
  who.groups.insert(who.groups.end(), config.groups.begin(), config.groups.end());
  process->SendBlob(FrameType::kParams, PackInitParams(RequestFor(config, who, hostname, FilterFor(config, filter))));
  Until([&] { return process->started(); }, seconds, "did not start the application in time");
}

// Until the application has ended, and all that it wrote is where it belongs.
ExitStatus VirtualMachine::State::Attend(const std::function<void()>& settled) {
  const EntryServer entries(pod.dir(), loop, *channel);
  const AppPlan& app = pod.plan().apps.front();
  std::optional<HealthProbe> health;
  if (config.health && !config.terminal && !failure)
    health.emplace(loop, pod, app, [this, &app] {
      const EnterOptions check{.args = config.health->test};
      return EnteredProcess::ByChild([&] { return EnterGuest(pod.dir(), app, pod.uuid(), check).code; });
    });
  else if (settled)
    loop.After(kSettled, settled);
  if (caller)
    caller->Begin();
  loop.Run([&] { return (process->status() || channel->ended()) && (!caller || caller->written()); });
  if (process->status())
    return ExitStatusOf(*process->status());
  // Somebody killed it, and the application in it: as in namespaces, that is no failure of ours.
  const ExitStatus status = machine->Wait();
  if (status.code != 128 + SIGKILL)
    channel->Fail("ended before the application did");
  return {128 + SIGKILL, true};
}

VirtualMachine::VirtualMachine(std::unique_ptr<State> state) : state_(std::move(state)) {}
VirtualMachine::VirtualMachine(VirtualMachine&&) noexcept = default;
VirtualMachine::~VirtualMachine() = default;

const std::optional<Error>& VirtualMachine::failure() const { return state_->failure; }
const std::string& VirtualMachine::note() const { return state_->note; }

VirtualMachine VirtualMachine::Start(const MachineParts& parts, RootImage root, Pod& pod, const Dir& cache,
                                     std::optional<LogLimits> detached,
                                     const std::function<void(const std::string&)>& note) {
  VirtualMachine out(std::make_unique<State>(pod));
  State& state = *out.state_;
  state.config = pod.plan().apps.front().config;
  state.keeps_changes = !parts.options.changes.empty();
  if (state.keeps_changes)
    state.config.volumes.push_back({.source = parts.options.changes, .target = "/"});
  RequireMachineCan(state.config);
  for (Volume& volume : state.config.volumes) {
    if (volume.kind == Volume::Kind::kEmpty)
      volume.source = pod.Path("volumes/" + volume.source);
  }
  state.hostname = ChooseHostname(state.config, pod.uuid());
  const AcceleratorChoice choice = ChooseAccelerator(parts.options.accelerator, cache);
  if (!choice.reason.empty())
    note("the virtual machine is emulated, which is slow: " + choice.reason);
  const MachineSize size = SizeOf(state.config.limits);
  const bool emulated = choice.accelerator == Accelerator::kTcg;
  const auto modules = ModulesFor(root.type, NeedsShares(state.config));
  BootFiles files{parts.kernel.file, CachedInitramfs(cache, parts.kernel, modules)};
  if (parts.options.verified)
    files = state.Measure(root, files);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  Pipe console = MakePipe();
  Machine plan{.program = parts.program,
               .accelerator = choice.accelerator,
               .tsc_khz = emulated ? MeasureTscKhz() : 0,
               .memory_mib = size.memory_mib,
               .cpus = size.cpus};
  state.mask_before = BlockForwardedSignals();
  state.blocked = true;
  state.LaunchMachine(files, std::move(plan), root, theirs.get(), console.write.get());
  theirs.Reset();
  console.write.Reset();
  state.MakeStreams(std::move(ours), std::move(console.read), detached);
  const int seconds = parts.options.boot_seconds != 0 ? parts.options.boot_seconds
                      : emulated                      ? kEmulatedBootSeconds
                                                      : kBootSeconds;
  state.Converse(root, seconds);
  return out;
}

ExitStatus VirtualMachine::Wait(const std::function<void()>& settled) {
  State& state = *state_;
  if (!state.ended)
    state.ended = state.Attend(settled);
  state.machine.reset();
  if (state.detached) {
    state.pod.Append({PodEvent::Kind::kExited, state.pod.plan().apps.front().name, 0, 0, state.ended->code});
    state.detached->Exited(state.ended->code);
  }
  return *state.ended;
}

ExitStatus Supervise(const MachineParts& parts, RootImage root, Pod& pod, const Dir& cache,
                     const SuperviseOptions& options) {
  const auto detached = options.detached ? std::optional(options.log) : std::nullopt;
  auto machine = VirtualMachine::Start(parts, std::move(root), pod, cache, detached, options.note);
  if (machine.failure())
    options.failed(*machine.failure());
  if (!machine.note().empty())
    options.note(machine.note());
  options.started();
  try {
    return machine.Wait([&] { pod.Confine(); });
  } catch (const Error& error) {
    constexpr int kOwnFailure = 125;
    pod.Append({PodEvent::Kind::kExited, pod.plan().apps.front().name, 0, 0, kOwnFailure});
    pod.Append({PodEvent::Kind::kFailed, {}, 0, 0, 0, error.message() + "\n" + error.hint()});
    throw;
  }
}

}  // namespace gantry::runner::vm
