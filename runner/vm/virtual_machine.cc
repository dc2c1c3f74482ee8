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
#include "runner/init_params.h"
#include "runner/limits.h"
#include "runner/report.h"
#include "runner/setup.h"
#include "runner/vm/guest_session.h"
#include "runner/vm/initramfs.h"
#include "runner/vm/job.h"
#include "runner/vm/kernel.h"
#include "runner/vm/machine.h"
#include "runner/vm/pack_job.h"
#include "runner/vm/share.h"

namespace gantry::runner::vm {
namespace {

constexpr int kBootSeconds = 20;
constexpr int kEmulatedBootSeconds = 120;
constexpr const char* kProgram = "qemu-system-x86_64";

std::string FindMachineProgram() {
  std::string program = FindHostProgram(kProgram);
  if (program.empty())
    throw Error(ErrorKind::kUnsupported, std::string(kProgram) + " is not installed",
                "install qemu-system-x86, or run without --isolation=vm");
  return program;
}

std::vector<std::string> ModulesFor(const std::string& root_type, bool volumes) {
  std::vector<std::string> out = {"virtio_mmio", "virtio_blk", "virtio_console", root_type, "overlay"};
  if (volumes)
    out.emplace_back("virtiofs");
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
    add(volume.kind == Volume::Kind::kTmpfs, "a file system in memory at " + Quoted(volume.target));
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
  add(config.health.has_value(), "a health check (see --no-healthcheck)");
  add(config.sockets > 0, "sockets of systemd");
  return out;
}

// The machine's own groups: the limits of the app are set in the guest.
std::pair<BundleCgroup, std::string> MakeMachineGroups(const Pod& pod, bool kvm) {
  RunConfig machine;
  if (kvm)
    machine.devices.push_back({"/dev/kvm", "/dev/kvm"});
  return MakeGroups(machine, pod.GroupName(pod.plan().apps.front().name));
}

}  // namespace

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

struct VirtualMachine::State {
  RunConfig config;
  sigset_t mask_before{};
  bool blocked = false;
  std::string hostname;
  std::string note;
  BundleCgroup cgroup;
  std::vector<sock_filter> filter;
  std::vector<Share> shares;
  std::optional<RunningProgram> machine;
  std::unique_ptr<GuestSession> session;
  std::optional<Error> failure;
  std::optional<ExitStatus> ended;  // before there was an application

  ~State() {
    if (machine)
      machine->Kill();
    if (blocked)
      sigprocmask(SIG_SETMASK, &mask_before, nullptr);
  }

  void LaunchMachine(const MachineOptions& options, Machine plan, const RootImage& root, Pod& pod, const Dir& cache);
  void Converse(const RootImage& root, int seconds);
  void TakeReport(const Report& report);
};

void VirtualMachine::State::LaunchMachine(const MachineOptions& options, Machine plan, const RootImage& root, Pod& pod,
                                          const Dir& cache) {
  const GuestKernel kernel = FindKernel(options.kernel);
  const std::string initramfs = CachedInitramfs(cache, kernel, ModulesFor(root.type, !config.volumes.empty()));
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  Pipe console = MakePipe();
  ConfinedProgram program;
  program.kvm = plan.accelerator == Accelerator::kKvm;
  std::tie(cgroup, note) = MakeMachineGroups(pod, program.kvm);
  program.cgroup = &cgroup;
  program.fds = {theirs.get(), console.write.get(), root.file.get()};
  for (size_t i = 0; i < config.volumes.size(); ++i) {
    shares.push_back(StartShare(config.volumes[i], i, pod, cgroup));
    program.fds.push_back(shares.back().connection.get());
  }
  plan.shares = shares.size();
  program.args = MachineArguments(plan);
  program.output = console.write.get();
  program.places = {{kernel.file, kKernelPath}, {initramfs, kInitramfsPath}};
  program.root = pod.Path("upper");
  machine.emplace(RunningProgram::Start(program, pod));
  cgroup.CloseDescriptors();
  pod.Append({PodEvent::Kind::kStarted, pod.plan().apps.front().name, machine->pid(),
              StartTimeOf(machine->pid()).value_or(0)});
  session =
      std::make_unique<GuestSession>(GuestSession::Ends{std::move(ours), std::move(console.read), machine->pidfd()},
                                     config, [this](const Report& report) { TakeReport(report); });
}

void VirtualMachine::State::TakeReport(const Report& report) {
  const SetupPlan nothing;
  Failure failed = Explain(report, config, nothing);
  if (failed.code == 125)
    throw std::move(failed.error);
  failure = std::move(failed.error);
}

void VirtualMachine::State::Converse(const RootImage& root, int seconds) {
  // While the kernel starts; the guest mounts nothing before it gets its job.
  CheckRootImage(root);
  AccountFiles accounts;
  if (session->AwaitHello(seconds)) {
    std::vector<bool> directories;
    for (const Share& share : shares) directories.push_back(share.directory);
    session->SendBlob(FrameType::kJob,
                      PackJob(config, MakeEtcFiles(config, hostname, nullptr), hostname, root.type, directories));
    if (session->AwaitRoot(seconds, accounts)) {
      Credentials who = ResolveUser(accounts, config.user);
      who.groups.insert(who.groups.end(), config.groups.begin(), config.groups.end());
      session->SendBlob(FrameType::kParams,
                        PackInitParams(RequestFor(config, who, hostname, FilterFor(config, filter))));
      session->AwaitStarted(seconds);
    }
  }
  if (session->ended_by() != 0)
    ended = ExitStatus{128 + session->ended_by(), false};
}

VirtualMachine::VirtualMachine(std::unique_ptr<State> state) : state_(std::move(state)) {}
VirtualMachine::VirtualMachine(VirtualMachine&&) noexcept = default;
VirtualMachine::~VirtualMachine() = default;

const std::optional<Error>& VirtualMachine::failure() const { return state_->failure; }
const std::string& VirtualMachine::note() const { return state_->note; }

VirtualMachine VirtualMachine::Start(const RunConfig& config, RootImage root, Pod& pod, const MachineOptions& options,
                                     const Dir& cache, const std::function<void(const std::string&)>& note) {
  RequireMachineCan(config);
  VirtualMachine out(std::make_unique<State>());
  State& state = *out.state_;
  state.config = config;
  for (Volume& volume : state.config.volumes) {
    if (volume.kind == Volume::Kind::kEmpty)
      volume.source = pod.Path("volumes/" + volume.source);
  }
  state.hostname = ChooseHostname(config, pod.uuid());
  const AcceleratorChoice choice = ChooseAccelerator(options.accelerator, cache);
  if (!choice.reason.empty())
    note("the virtual machine is emulated, which is slow: " + choice.reason);
  const MachineSize size = SizeOf(config.limits);
  const bool emulated = choice.accelerator == Accelerator::kTcg;
  Machine plan{.program = FindMachineProgram(),
               .accelerator = choice.accelerator,
               .tsc_khz = emulated ? MeasureTscKhz() : 0,
               .memory_mib = size.memory_mib,
               .cpus = size.cpus};
  state.mask_before = BlockForwardedSignals();
  state.blocked = true;
  state.LaunchMachine(options, std::move(plan), root, pod, cache);
  const int seconds = options.boot_seconds != 0 ? options.boot_seconds : emulated ? kEmulatedBootSeconds : kBootSeconds;
  state.Converse(root, seconds);
  return out;
}

ExitStatus VirtualMachine::Wait() {
  if (!state_->ended)
    state_->ended = ExitStatusOf(state_->session->Serve());
  state_->machine->Kill();
  return *state_->ended;
}

}  // namespace gantry::runner::vm
