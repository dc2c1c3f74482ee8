#include "runner/vm/attendant.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "runner/attend.h"
#include "runner/bundle_machine.h"
#include "runner/bundle_plan.h"
#include "runner/confined_program.h"
#include "runner/container_state.h"
#include "runner/event_loop.h"
#include "runner/filter_compiler.h"
#include "runner/vm/bundle_bounds.h"
#include "runner/vm/caller_streams.h"
#include "runner/vm/entry.h"
#include "runner/vm/guest_channel.h"
#include "runner/vm/guest_process.h"
#include "runner/vm/initramfs.h"
#include "runner/vm/kernel.h"
#include "runner/vm/machine.h"
#include "runner/vm/pack_bundle.h"
#include "runner/vm/share.h"

namespace gantry::runner::vm {
namespace {

std::string Annotation(const Spec& spec, const char* name) {
  const auto found = spec.annotations.find(name);
  return found == spec.annotations.end() ? "" : found->second;
}

// The configuration as the runtime took it, with sources of the host in full.
Spec LoadSpec(const ContainerDir& dir, const ContainerState& state) {
  Spec out = Spec::Parse(dir.LoadConfig(), "config.json");
  for (SpecMount& mount : out.mounts) {
    if (mount.options.bind && !mount.source.starts_with('/'))
      mount.source = state.bundle + "/" + mount.source;
  }
  return out;
}

// The part that is the guest's to set up, in a machine that is the container's alone.
Spec InGuest(Spec spec) {
  spec.namespaces.clear();
  spec.hooks = {};
  spec.root_propagation = 0;
  for (SpecMount& mount : spec.mounts) mount.options.propagation = 0;
  return spec;
}

void JoinGroups(const BundleCgroup& cgroup) {
  for (const BundleCgroup::Group& group : cgroup.groups()) {
    const std::string file = group.path + (group.v2() ? "/cgroup.procs" : "/tasks");
    if (const int error = WriteControl(file, "0"); error != 0)
      ThrowErrno("join the control group " + group.path, error);
  }
}

// From here on the end of whoever made us is not ours.
void TellReady() {
  prctl(PR_SET_PDEATHSIG, 0);
  SendMessage(kAttendantFd, {kAttendantReady, {}});
  close(kAttendantFd);
}

// Signals that the runtime was asked to send.
class AskedSignals {
 public:
  AskedSignals(EventLoop& loop, std::function<void(int32_t)> hand_on) : loop_(loop), hand_on_(std::move(hand_on)) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, kAskedSignal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_)
      ThrowErrno("make a descriptor for signals");
    loop_.Watch(signals_.get(), [this] { Hear(); });
  }
  AskedSignals(const AskedSignals&) = delete;
  AskedSignals& operator=(const AskedSignals&) = delete;
  ~AskedSignals() { loop_.Forget(signals_.get()); }

 private:
  void Hear() {
    signalfd_siginfo signal{};
    while (read(signals_.get(), &signal, sizeof signal) == sizeof signal) hand_on_(signal.ssi_int);
  }
  EventLoop& loop_;
  std::function<void(int32_t)> hand_on_;
  UniqueFd signals_;
};

class Attendant {
 public:
  Attendant(const AttendantOptions& options, ContainerDir dir);
  Attendant(const Attendant&) = delete;
  Attendant& operator=(const Attendant&) = delete;
  ExitStatus Run();

 private:
  void PlanVolumes();
  size_t VolumeFor(const SpecMount& mount);
  void StartShares(const std::string& directory, int output);
  void Boot();
  void Launch(Machine machine, const std::string& kernel, const std::string& initramfs, int port, int console);
  void Serve(UniqueFd port, UniqueFd console);
  bool Until(const std::function<bool()>& done, int seconds, std::string_view did);
  bool AwaitStart();
  bool Execute();
  void Fail(const Report& report);

  const AttendantOptions& options_;
  ContainerDir dir_;
  ContainerState state_;
  Spec spec_, inside_;
  BundlePlace place_;
  BundleSetup setup_;
  std::vector<Volume> volumes_;  // the root first
  std::vector<size_t> shown_;    // BundleJob
  std::vector<Share> shares_;
  std::vector<VolumePlace> places_;
  std::optional<gantry::Process> machine_;
  int seconds_ = 0;
  EventLoop loop_;
  std::unique_ptr<GuestChannel> channel_;
  std::unique_ptr<GuestProcess> process_;
  std::unique_ptr<CallerSignals> signals_;
  std::unique_ptr<AskedSignals> asked_;
  std::unique_ptr<CallerStreams> streams_;
  UniqueFd starter_;  // the `start` that waits for the execution
  bool failed_ = false;
};

Attendant::Attendant(const AttendantOptions& options, ContainerDir dir)
    : options_(options),
      dir_(std::move(dir)),
      state_(dir_.Load()),
      spec_(LoadSpec(dir_, state_)),
      inside_(InGuest(spec_)),
      place_{.id = options.id, .bundle = state_.bundle, .root = "/"},
      setup_(inside_, place_, state_.cgroup) {
  RequireMachineCan(spec_);
  PlanVolumes();
}

size_t Attendant::VolumeFor(const SpecMount& mount) {
  const uint64_t set = mount.options.set | mount.options.set_all;
  Volume volume{.source = mount.source,
                .target = mount.destination,
                .read_only = (set & MOUNT_ATTR_RDONLY) != 0,
                .recursive = mount.options.recursive};
  const auto same = std::ranges::find_if(volumes_.begin() + 1, volumes_.end(), [&](const Volume& other) {
    return other.source == volume.source && other.read_only == volume.read_only && other.recursive == volume.recursive;
  });
  const auto index = static_cast<size_t>(same - volumes_.begin());
  if (same == volumes_.end())
    volumes_.push_back(std::move(volume));
  return index;
}

void Attendant::PlanVolumes() {
  volumes_.push_back({.source = state_.rootfs, .target = "/"});
  for (const SpecMount& mount : inside_.mounts) shown_.push_back(mount.options.bind ? VolumeFor(mount) : 0);
  if (volumes_.size() > kMaxJobShares)
    throw Error(ErrorKind::kUnsupported, "a virtual machine takes at most 15 bind mounts of different sources",
                "show a directory above them");
}

void Attendant::StartShares(const std::string& directory, int output) {
  const ShareOwner owner{options_.root + "/" + options_.id, directory, state_.cgroup, output};
  for (size_t i = 0; i < volumes_.size(); ++i) {
    shares_.push_back(StartShare(volumes_[i], i, owner));
    places_.push_back({i, shares_.back().directory});
  }
}

void Attendant::Launch(Machine machine, const std::string& kernel, const std::string& initramfs, int port,
                       int console) {
  const std::string top = options_.root + "/" + options_.id + "/machine";
  Dir::Create(top, 0755);
  ConfinedProgram program;
  program.owner = options_.root + "/" + options_.id;
  program.root = top + "/root";
  Dir::Create(program.root, 0755);
  program.kvm = machine.accelerator == Accelerator::kKvm;
  program.cgroup = &state_.cgroup;
  StartShares(top, console);
  program.fds = {port, console};
  for (const Share& share : shares_) program.fds.push_back(share.connection.get());
  machine.roots = 0;
  machine.shares = shares_.size();
  RequireRoom(machine);
  program.args = MachineArguments(machine);
  program.output = console;
  program.places = {{kernel, kKernelPath}, {initramfs, kInitramfsPath}};
  machine_.emplace(StartConfined(program));
}

void Attendant::Boot() {
  RequireShareServer();
  const Dir cache = Dir::Create(options_.root + "/.machines", 0700);
  const GuestKernel kernel = FindKernel(Annotation(spec_, kKernelAnnotation));
  const std::string initramfs = CachedInitramfs(cache, kernel, {"virtio_mmio", "virtio_console", "virtiofs"});
  const AcceleratorChoice choice =
      ChooseAccelerator(ParseAccelerator(Annotation(spec_, kAcceleratorAnnotation)), cache);
  if (!choice.reason.empty())
    SendMessage(kAttendantFd, {kAttendantNote, {"the virtual machine is emulated, which is slow: " + choice.reason}});
  seconds_ = BootSeconds(choice.accelerator);
  const MachineSize size = SizeOf(spec_);
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  Pipe console = MakePipe();
  Launch({.program = FindMachineProgram(),
          .accelerator = choice.accelerator,
          .tsc_khz = choice.accelerator == Accelerator::kTcg ? MeasureTscKhz() : 0,
          .memory_mib = size.memory_mib,
          .cpus = size.cpus},
         kernel.file, initramfs, theirs.get(), console.write.get());
  Serve(std::move(ours), std::move(console.read));
}

void Attendant::Serve(UniqueFd port, UniqueFd console) {
  channel_ = std::make_unique<GuestChannel>(std::move(port), std::move(console), loop_);
  process_ = std::make_unique<GuestProcess>(
      GuestProcess::Surroundings{.send = [this](FrameType type, uint8_t stream,
                                                std::string_view payload) { channel_->Send(0, type, stream, payload); },
                                 .fail = [this](std::string_view did) { channel_->Fail(did); },
                                 .failed = [this](const Report& report) { Fail(report); }});
  channel_->Serve(0, [this](const Frame& frame) { process_->Take(frame); });
  const auto hand_on = [this](int32_t signal) {
    if ((process_->created() || process_->started()) && !process_->status())
      process_->Signal(signal);
  };
  signals_ = std::make_unique<CallerSignals>(
      loop_, [this] { return process_->started(); }, hand_on);
  asked_ = std::make_unique<AskedSignals>(loop_, hand_on);
  streams_ = std::make_unique<CallerStreams>(loop_, *process_, *signals_, spec_.process->terminal, true);
}

// What went wrong on the way to the execution: whoever waits for it gets to know.
void Attendant::Fail(const Report& report) {
  if (!starter_)
    throw setup_.Explain(report, *spec_.process).error;
  failed_ = true;
  if (send(starter_.get(), &report, sizeof report, MSG_NOSIGNAL) < 0)
    errno = 0;  // nobody does
}

// False when the process ends before, or a signal of the caller's ends it.
bool Attendant::Until(const std::function<bool()>& done, int seconds, std::string_view did) {
  bool late = false;
  const uint64_t timer = seconds > 0 ? loop_.After(int64_t{seconds} * 1000, [&] { late = true; }) : 0;
  loop_.Run([&] { return done() || late || channel_->ended() || process_->status() || signals_->ended_by() != 0; });
  if (seconds > 0)
    loop_.Cancel(timer);
  if (signals_->ended_by() != 0 || (process_->status() && !done()))
    return false;
  if (!done())
    channel_->Fail(late ? did : "ended before the application was started");
  return true;
}

bool Attendant::AwaitStart() {
  TellReady();
  const UniqueFd listener(kAttendantInputFd);
  loop_.Watch(listener.get(), [&] { starter_ = UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)); });
  const bool going = Until([&] { return bool{starter_}; }, 0, "");
  loop_.Forget(listener.get());
  return going;
}

// False when it came to nothing.
bool Attendant::Execute() {
  if (!Until([&] { return channel_->hello(); }, seconds_, "did not start in time"))
    return false;
  process_->SendBlob(FrameType::kJob, PackBundleJob({spec_, setup_.plan(), volumes_, places_, shown_}));
  if (!Until([&] { return process_->has_root(); }, seconds_, "did not make the container in time"))
    return false;
  const std::vector<sock_filter> filter = spec_.seccomp ? CompileFilter(*spec_.seccomp) : std::vector<sock_filter>();
  InitRequest request = RequestInMachine(spec_, *spec_.process, filter);
  request.waits = options_.waits;
  request.passed = options_.waits ? 1 : 0;
  process_->SendBlob(FrameType::kParams, PackInitParams(request));
  if (options_.waits) {
    if (!Until([&] { return process_->created(); }, seconds_, "did not make the container in time") || !AwaitStart())
      return false;
    process_->Start();
  }
  if (!Until([&] { return process_->started(); }, seconds_, "did not start the application in time"))
    return false;
  starter_.Reset();
  if (!options_.waits)
    TellReady();
  return !failed_;
}

ExitStatus Attendant::Run() {
  constexpr int kNotExecuted = 127;
  JoinGroups(state_.cgroup);
  state_.cgroup.OpenForJoining();
  if (spec_.process->oom_score_adj)
    WriteControl("/proc/self/oom_score_adj", std::to_string(*spec_.process->oom_score_adj));
  BlockForwardedSignals();
  Boot();
  state_.cgroup.CloseDescriptors();
  for (Share& share : shares_) share.connection.Reset();
  if (!Execute() && process_->status())
    return ExitStatusOf(*process_->status());
  if (!process_->started() || failed_)
    return {signals_->ended_by() != 0 ? 128 + signals_->ended_by() : kNotExecuted, false};
  streams_->Begin();
  {
    const EntryServer entries(dir_.dir(), loop_, *channel_, 1);
    loop_.Run([&] { return (process_->status() || channel_->ended()) && streams_->written(); });
  }
  if (process_->status())
    return ExitStatusOf(*process_->status());
  // Somebody killed it, and the container in it: as in namespaces, that is no failure of ours.
  if (machine_->Wait().code != 128 + SIGKILL)
    channel_->Fail("ended before the application did");
  return {128 + SIGKILL, true};
}

}  // namespace

ExitStatus AttendMachine(const AttendantOptions& options) {
  return Attendant(options, ContainerDir::Open(options.root, options.id)).Run();
}

ExitStatus AttendEntry(const AttendantOptions& options) {
  const ContainerDir dir = ContainerDir::Open(options.root, options.id);
  JoinGroups(dir.Load().cgroup);
  lseek(kAttendantInputFd, 0, SEEK_SET);  // whoever wrote them has left it at their end
  EntryPlan plan{.whose = "container " + Quoted(options.id),
                 .wanted = {.terminal = options.terminal ? 1U : 0U, .interactive = 1, .capabilities = ~uint64_t{0}},
                 .params =
                     [](const AccountFiles&) {
                       return ReadAll(kAttendantInputFd, kMaxBlobBytes, "the parameters of the process");
                     },
                 .failed =
                     [](const Report& report) {
                       SendMessage(kAttendantFd, {kAttendantReport, {std::string(BytesOf(report))}});
                       throw Error(ErrorKind::kFailed, "the process was not executed");
                     },
                 .started = TellReady};
  return EnterGuest(dir.dir(), std::move(plan));
}

}  // namespace gantry::runner::vm
