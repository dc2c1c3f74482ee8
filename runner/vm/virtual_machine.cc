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
#include "runner/limits.h"
#include "runner/vm/guest_apps.h"
#include "runner/vm/guest_channel.h"
#include "runner/vm/initramfs.h"
#include "runner/vm/job.h"
#include "runner/vm/kernel.h"
#include "runner/vm/machine.h"
#include "runner/vm/machine_network.h"
#include "runner/vm/pack_job.h"
#include "runner/vm/share.h"

namespace gantry::runner::vm {
namespace {

bool NeedsShares(const std::vector<RunConfig>& configs) {
  return std::ranges::any_of(configs, [](const RunConfig& config) {
    return std::ranges::any_of(config.volumes,
                               [](const Volume& volume) { return volume.kind != Volume::Kind::kTmpfs; });
  });
}

std::vector<std::string> ModulesFor(const std::string& root_type, const std::vector<RunConfig>& configs) {
  std::vector<std::string> out = {"virtio_mmio", "virtio_blk", "virtio_console", root_type, "overlay"};
  if (NeedsShares(configs))
    out.emplace_back("virtiofs");
  if (IsAttached(configs.front().network))
    out.emplace_back("virtio_net");
  return out;
}

std::vector<RunConfig> ConfigsOf(const PodPlan& plan) {
  std::vector<RunConfig> out;
  for (const AppPlan& app : plan.apps) out.push_back(app.config);
  return out;
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

std::string PrintMac(const MacAddress& mac) {
  std::string out;
  for (const uint8_t byte : mac) {
    constexpr const char* kDigits = "0123456789abcdef";
    out += out.empty() ? "" : ":";
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

// The machine's own groups: the limits of the apps are set in the guest.
std::pair<BundleCgroup, std::string> MakeMachineGroups(const Pod& pod, bool kvm) {
  RunConfig machine;
  if (kvm)
    machine.devices.push_back({"/dev/kvm", "/dev/kvm"});
  return MakeGroups(machine, pod.GroupName(pod.plan().apps.front().name));
}

}  // namespace

MachineParts FindMachineParts(const MachineOptions& options) {
  return {options, FindMachineProgram(), FindKernel(options.kernel), FindRootMaker()};
}

MachineSize SizeOf(const std::vector<RunConfig>& configs) {
  constexpr int64_t kMib = 1024 * 1024;
  constexpr int64_t kMinMib = 64;
  constexpr uint64_t kPeriod = 100'000;  // of Limits::cpu_microseconds
  constexpr uint64_t kMaxCpus = 64;
  MachineSize out{.memory_mib = 0};
  uint64_t cpu = 0;
  bool unlimited = false;
  for (const RunConfig& config : configs) {
    const Limits& limits = config.limits;
    if (limits.memory && *limits.memory < kMinMib * kMib)
      throw Error(ErrorKind::kUsage,
                  std::to_string(*limits.memory) + " bytes of memory are too little for a virtual machine",
                  "give at least --memory 64M");
    if (limits.cpu_microseconds && *limits.cpu_microseconds > kMaxCpus * kPeriod)
      throw Error(ErrorKind::kUsage, "a virtual machine has at most 64 processors", "give --cpus 64, or fewer");
    unlimited = unlimited || !limits.memory;
    out.memory_mib += limits.memory ? static_cast<uint64_t>((*limits.memory - 1) / kMib + 1) : 0;
    cpu += limits.cpu_microseconds.value_or(0);
  }
  out.memory_mib += unlimited ? MachineSize{}.memory_mib : 0;
  out.cpus = static_cast<unsigned>(std::clamp<uint64_t>((cpu + kPeriod - 1) / kPeriod, 1, kMaxCpus));
  return out;
}

void RequireMachineCan(const std::vector<RunConfig>& configs) {
#if !defined(__x86_64__)
  throw Error(ErrorKind::kUnsupported, "virtual machines are for x86-64 alone", "run without --isolation=vm");
#endif
  if (configs.size() > kMaxApps)
    throw Error(ErrorKind::kUnsupported, "a virtual machine takes at most 8 images", "run them in several");
  if (configs.front().network == Network::kHost)
    throw Error(ErrorKind::kUnsupported, "a virtual machine cannot have the host's network",
                "run it with --net=private or none, or without --isolation=vm");
  std::string list;
  for (const RunConfig& config : configs) {
    if (config.volumes.size() > kMaxJobVolumes)
      throw Error(ErrorKind::kUnsupported, "a virtual machine takes at most 16 volumes", "show a directory above them");
    for (const std::string& one : BeyondMachines(config)) list += (list.empty() ? "" : "; ") + one;
  }
  if (!list.empty())
    throw Error(ErrorKind::kUnsupported, "a virtual machine cannot give an app: " + list,
                "leave it out, or run without --isolation=vm");
  SizeOf(configs);
}

void RequireParts(const std::vector<RunConfig>& configs, const MachineParts& parts) {
  if (NeedsShares(configs))
    RequireShareServer();
  ModuleFiles(parts.kernel, ModulesFor(parts.root_maker.type, configs));
}

// Files that the machine is started with.
struct BootFiles {
  std::string kernel, initramfs;
};

struct VirtualMachine::State {
  State(Pod& of, std::vector<RootImage> images) : pod(of), roots(std::move(images)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Pod& pod;
  std::vector<RootImage> roots;    // of the apps, in the order of the plan
  std::vector<RunConfig> configs;  // theirs
  sigset_t mask_before{};
  bool blocked = false;
  std::string note;
  BundleCgroup cgroup;
  std::vector<Share> shares;
  std::vector<std::vector<VolumePlace>> places;  // of the volumes of each app
  std::optional<MachineNetwork> network;
  std::optional<gantry::Process> machine;
  EventLoop loop;
  std::unique_ptr<GuestChannel> channel;
  std::unique_ptr<GuestApps> apps;
  std::optional<ExitStatus> ended;  // before the applications did
  bool keeps_changes = false;

  ~State() {
    apps.reset();
    machine.reset();
    if (blocked)
      sigprocmask(SIG_SETMASK, &mask_before, nullptr);
  }

  void TakeConfigs(const std::string& changes);
  // The copies that were measured.
  BootFiles Measure(const BootFiles& files);
  void StartShares();
  void LaunchMachine(const BootFiles& files, Machine plan, int port, int console);
  void Converse(int seconds);
};

void VirtualMachine::State::TakeConfigs(const std::string& changes) {
  configs = ConfigsOf(pod.plan());
  keeps_changes = !changes.empty();
  if (keeps_changes)
    configs.front().volumes.push_back({.source = changes, .target = "/"});
  RequireMachineCan(configs);
  for (RunConfig& config : configs) {
    for (Volume& volume : config.volumes) {
      if (volume.kind == Volume::Kind::kEmpty)
        volume.source = pod.Path("volumes/" + volume.source);
    }
  }
}

BootFiles VirtualMachine::State::Measure(const BootFiles& files) {
  const std::string dir = pod.AppPath(pod.plan().apps.front().name) + "/work";
  BootFiles out{dir + "/kernel", dir + "/initramfs"};
  const Digest kernel = CopyMeasured(files.kernel, out.kernel);
  const Digest initramfs = CopyMeasured(files.initramfs, out.initramfs);
  for (size_t i = 0; i < roots.size(); ++i) {
    PodEvent event{PodEvent::Kind::kMeasured, pod.plan().apps[i].name};
    event.digests.emplace("root", roots[i].digest);
    event.digests.emplace("kernel", kernel);
    event.digests.emplace("initramfs", initramfs);
    pod.Append(event);
  }
  return out;
}

// One server for what several apps are shown in the same way.
void VirtualMachine::State::StartShares() {
  const ShareOwner owner{pod.uuid(), pod.AppPath(pod.plan().apps.front().name) + "/work", cgroup};
  std::vector<const Volume*> shown;
  for (const RunConfig& config : configs) {
    places.emplace_back();
    for (const Volume& volume : config.volumes) {
      places.back().emplace_back();
      if (volume.kind == Volume::Kind::kTmpfs)
        continue;
      const auto same = std::ranges::find_if(shown, [&](const Volume* other) {
        return other->source == volume.source && other->read_only == volume.read_only;
      });
      const auto share = static_cast<size_t>(same - shown.begin());
      if (same == shown.end()) {
        if (share == kMaxJobShares)
          throw Error(ErrorKind::kUnsupported, "a virtual machine takes at most 16 volumes",
                      "show a directory above them");
        shown.push_back(&volume);
        shares.push_back(StartShare(volume, share, owner));
      }
      places.back().back() = {share, shares[share].directory};
    }
  }
}

void VirtualMachine::State::LaunchMachine(const BootFiles& files, Machine plan, int port, int console) {
  ConfinedProgram program;
  program.kvm = plan.accelerator == Accelerator::kKvm;
  std::tie(cgroup, note) = MakeMachineGroups(pod, program.kvm);
  program.cgroup = &cgroup;
  StartShares();
  program.fds = {port, console};
  for (const RootImage& root : roots) program.fds.push_back(root.file.get());
  for (const Share& share : shares) program.fds.push_back(share.connection.get());
  plan.roots = roots.size();
  plan.shares = shares.size();
  if (network) {
    for (const GuestDevice& device : network->devices()) plan.macs.push_back(PrintMac(device.mac));
    for (const UniqueFd& tap : network->taps()) program.fds.push_back(tap.get());
  }
  RequireRoom(plan);
  program.args = MachineArguments(plan);
  program.output = console;
  program.places = {{files.kernel, kKernelPath}, {files.initramfs, kInitramfsPath}};
  program.owner = pod.uuid();
  program.root = pod.AppPath(pod.plan().apps.front().name) + "/upper";
  machine.emplace(StartConfined(program));
  cgroup.CloseDescriptors();
  if (network)
    network->CloseDescriptors();
  for (const AppPlan& app : pod.plan().apps)
    pod.Append({PodEvent::Kind::kStarted, app.name, machine->pid(), StartTimeOf(machine->pid()).value_or(0)});
}

void VirtualMachine::State::Converse(int seconds) {
  // While the kernel starts; the guest mounts nothing before it gets its job.
  for (const RootImage& root : roots) CheckRootImage(root);
  bool going = apps->AwaitGuest(seconds);
  for (size_t i = 0; i < configs.size() && going; ++i) {
    const std::string hostname = ChooseHostname(configs[i], pod.uuid());
    const EtcFiles etc = MakeEtcFiles(configs[i], hostname, pod.network());
    JobRequest job{.config = configs[i],
                   .etc = etc,
                   .hostname = hostname,
                   .root_type = roots[i].type,
                   .places = places[i],
                   .keeps_changes = keeps_changes && i == 0,
                   .apps = configs.size(),
                   .devices = {}};
    if (network && i == 0)
      job.devices = network->devices();
    going = apps->Execute(i, PackJob(job), hostname, seconds);
  }
  if (!going)
    ended = apps->status();
}

VirtualMachine::VirtualMachine(std::unique_ptr<State> state) : state_(std::move(state)) {}
VirtualMachine::VirtualMachine(VirtualMachine&&) noexcept = default;
VirtualMachine::~VirtualMachine() = default;

const std::vector<Error>& VirtualMachine::failures() const { return state_->apps->failures(); }
const std::string& VirtualMachine::note() const { return state_->note; }

VirtualMachine VirtualMachine::Start(const MachineParts& parts, std::vector<RootImage> roots, Pod& pod,
                                     const Dir& cache, std::optional<LogLimits> detached,
                                     const std::function<void(const std::string&)>& note) {
  VirtualMachine out(std::make_unique<State>(pod, std::move(roots)));
  State& state = *out.state_;
  state.TakeConfigs(parts.options.changes);
  const AcceleratorChoice choice = ChooseAccelerator(parts.options.accelerator, cache);
  if (!choice.reason.empty())
    note("the virtual machine is emulated, which is slow: " + choice.reason);
  const MachineSize size = SizeOf(state.configs);
  const bool emulated = choice.accelerator == Accelerator::kTcg;
  const auto modules = ModulesFor(state.roots.front().type, state.configs);
  BootFiles files{parts.kernel.file, CachedInitramfs(cache, parts.kernel, modules)};
  if (parts.options.verified)
    files = state.Measure(files);
  state.mask_before = BlockForwardedSignals();
  state.blocked = true;
  if (IsAttached(state.configs.front().network))
    state.network.emplace(MachineNetwork::Attach(pod));
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  Pipe console = MakePipe();
  Machine plan{.program = parts.program,
               .accelerator = choice.accelerator,
               .tsc_khz = emulated ? MeasureTscKhz() : 0,
               .memory_mib = size.memory_mib,
               .cpus = size.cpus};
  state.LaunchMachine(files, std::move(plan), theirs.get(), console.write.get());
  theirs.Reset();
  console.write.Reset();
  state.channel = std::make_unique<GuestChannel>(std::move(ours), std::move(console.read), state.loop);
  state.apps = std::make_unique<GuestApps>(pod, state.loop, *state.channel, state.configs, detached);
  const int seconds = parts.options.boot_seconds != 0 ? parts.options.boot_seconds : BootSeconds(choice.accelerator);
  state.Converse(seconds);
  return out;
}

ExitStatus VirtualMachine::Wait(const std::function<void()>& settled) {
  State& state = *state_;
  try {
    if (!state.ended && !state.apps->Attend(settled)) {
      // Somebody killed it, and the applications in it: as in namespaces, that is no failure of ours.
      if (state.machine->Wait().code != 128 + SIGKILL)
        state.channel->Fail("ended before the application did");
      state.ended = ExitStatus{128 + SIGKILL, true};
    }
  } catch (const Error&) {
    constexpr int kOwnFailure = 125;
    state.apps->EndAll({kOwnFailure, false});
    throw;
  }
  state.machine.reset();
  if (state.ended)
    state.apps->EndAll(*state.ended);
  return state.apps->status();
}

ExitStatus Supervise(const MachineParts& parts, std::vector<RootImage> roots, Pod& pod, const Dir& cache,
                     const SuperviseOptions& options) {
  const auto detached = options.detached ? std::optional(options.log) : std::nullopt;
  auto machine = VirtualMachine::Start(parts, std::move(roots), pod, cache, detached, options.note);
  for (const Error& failure : machine.failures()) options.failed(failure);
  if (!machine.note().empty())
    options.note(machine.note());
  options.started();
  try {
    return machine.Wait([&] { pod.Confine(); });
  } catch (const Error& error) {
    pod.Append({PodEvent::Kind::kFailed, {}, 0, 0, 0, error.message() + "\n" + error.hint()});
    throw;
  }
}

}  // namespace gantry::runner::vm
