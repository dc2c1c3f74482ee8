#include "runner/process.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"
#include "runner/attend.h"
#include "runner/console.h"
#include "runner/etc_files.h"
#include "runner/init_params.h"
#include "runner/launch.h"
#include "runner/sealed_init.h"
#include "runner/setup.h"
#include "runner/user.h"
#include "runner/userns.h"

namespace gantry::runner {
namespace {

// Pipes of ours that the container's user must be able to open again through /dev/stdout.
void GiveAwayPipes(uid_t uid) {
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat status {};
    if (fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) && status.st_uid != uid &&
        fchown(fd, uid, static_cast<gid_t>(-1)) < 0)
      return;  // another user namespace's pipe: the open descriptor still works
  }
}

}  // namespace

// Owns what the plan points at.
struct Process::State {
  RunConfig config;
  Rootfs rootfs;
  std::string hostname, upper, work, mount_point;
  std::vector<const char*> layers;
  std::vector<VolumePlan> volumes;
  std::vector<CgroupMountPlan> cgroups;
  std::vector<int> tasks;
  std::vector<UniqueFd> duplicates;
  EtcFiles etc;
  std::vector<EtcFile> etc_files;
  SetupPlan plan;
  int unified = -1;

  sigset_t mask_before{};
  UniqueFd init;
  UniqueFd socket;
  UniqueFd pidfd;
  pid_t pid = -1;
  std::unique_ptr<Console> console;
  UniqueFd master;
  std::optional<Error> failure;

  void MakePlan(Pod& pod);
  void Clone();
  void Introduce(const Dir& root, const std::optional<IdMap>& map);
  void Converse(const std::optional<IdMap>& map);
  void Kill();
};

void Process::State::MakePlan(Pod& pod) {
  if (rootfs.layers.empty() || rootfs.layers.size() > kMaxOverlayLayers)
    throw Error(ErrorKind::kUnsupported, "an image of " + std::to_string(rootfs.layers.size()) + " layers cannot run",
                "overlayfs stacks 1 to 500; squash it with: gantry convert");
  const bool host_network = config.network == Network::kHost;
  hostname = ChooseHostname(config, pod.uuid());
  etc = MakeEtcFiles(hostname, host_network);
  for (const auto& [name, text] : etc) etc_files.push_back({name.c_str(), text.data(), text.size()});
  upper = rootfs.upper.empty() ? pod.Path("upper") : rootfs.upper;
  work = rootfs.work.empty() ? pod.Path("work") : rootfs.work;
  mount_point = pod.path();
  for (const std::string& layer : rootfs.layers) layers.push_back(layer.c_str());
  for (const Volume& v : config.volumes) volumes.push_back({v.source.c_str(), v.target.c_str(), false, v.read_only});
  for (const CgroupHierarchy& h : pod.cgroup().hierarchies()) cgroups.push_back({h.name.c_str(), h.options.c_str()});
  for (const UniqueFd& fd : pod.cgroup().tasks()) {
    duplicates.push_back(fd.get() > kProcFd ? UniqueFd() : AboveControl(fd.get()));
    tasks.push_back(duplicates.back() ? duplicates.back().get() : fd.get());
  }
  unified = pod.cgroup().unified();
  init = AboveControl(SealedInit().get());
  plan.init = init.get();
  plan.user_namespace = pod.map().has_value();
  plan.single_id = pod.map() && pod.map()->single();
  plan.host_network = host_network;
  plan.terminal = config.terminal;
  plan.interactive = config.interactive;
  plan.read_only_rootfs = config.read_only_rootfs;
  plan.user_xattrs = rootfs.user_xattrs;
  plan.layers = layers.data();
  plan.layer_count = layers.size();
  plan.upper = upper.c_str();
  plan.work = work.c_str();
  plan.mount_point = mount_point.c_str();
  plan.etc = etc_files.data();
  plan.etc_count = etc_files.size();
  plan.volumes = volumes.data();
  plan.volume_count = volumes.size();
  plan.tasks = tasks.data();
  plan.task_count = tasks.size();
  plan.joined_cgroup = !tasks.empty() || unified >= 0;
  plan.cgroups = cgroups.data();
  plan.cgroup_count = cgroups.size();
  plan.hostname = hostname.c_str();
  plan.working_dir = config.working_dir.c_str();
  plan.capabilities = config.capabilities;
}

void Process::State::Clone() {
  mask_before = BlockForwardedSignals();
  Namespaces namespaces{.made = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS, .cgroup = unified};
  if (plan.user_namespace)
    namespaces.made |= CLONE_NEWUSER;
  if (!plan.host_network)
    namespaces.made |= CLONE_NEWNET;
  Launched launched = Launch(plan, namespaces);
  pid = launched.pid;
  pidfd = std::move(launched.pidfd);
  socket = std::move(launched.socket);
}

// The root is mounted: who the user is can be read there, while the child goes on.
void Process::State::Introduce(const Dir& root, const std::optional<IdMap>& map) {
  const Credentials who = ResolveUser(root, config.user);
  if (map && (!map->HasUid(who.uid) || !map->HasGid(who.gid)))
    throw Error(ErrorKind::kUnsupported,
                "user " + std::to_string(who.uid) + ":" + std::to_string(who.gid) + " is not mapped without root",
                map->single() ? map->note : "choose ids below 65536 with --user, or run as root");
  if (!map && !config.terminal)
    GiveAwayPipes(who.uid);
  InitRequest request = RequestFor(config, who, hostname);
  request.keep_groups = plan.single_id;
  const UniqueFd params = MakeInitParams(request);
  // EPIPE: the child failed meanwhile, and its report is on the way.
  if (!PassDescriptor(socket.get(), params.get()) && errno != EPIPE)
    ThrowErrno("send the container its parameters");
}

void Process::State::Converse(const std::optional<IdMap>& map) {
  if (map) {
    ApplyIdMap(pid, *map);
    const char go = 1;
    if (send(socket.get(), &go, 1, MSG_NOSIGNAL) < 0)
      ThrowErrno("start the container");
  }
  bool ready = false;
  while (auto received = ReceiveReport(socket.get())) {
    if (received->report.kind == Report::kRoot)
      Introduce(Dir(std::move(received->fd), "the container's root"), map);
    else if (received->report.kind == Report::kConsole)
      master = std::move(received->fd);
    else if (received->report.kind == Report::kReady)
      ready = true;
    else {
      Failure failed = Explain(received->report, config, plan);
      if (failed.code == 125)
        throw std::move(failed.error);
      failure = std::move(failed.error);
    }
  }
  if (!ready)
    throw Error(ErrorKind::kFailed, "the container's first process ended before it was set up",
                "was it killed? see the kernel's log for 'Out of memory'");
  socket.Reset();
}

void Process::State::Kill() {
  if (pid > 0) {
    kill(pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid = -1;
  }
  console.reset();
  sigprocmask(SIG_SETMASK, &mask_before, nullptr);
}

Process::Process(std::unique_ptr<State> state) : state_(std::move(state)) {}
Process::Process(Process&&) noexcept = default;
Process::~Process() {
  if (state_)
    state_->Kill();
}

const std::optional<Error>& Process::failure() const { return state_->failure; }

Process Process::Start(const RunConfig& config, Rootfs rootfs, Pod& pod) {
  Process process(std::make_unique<State>());
  State& state = *process.state_;
  sigprocmask(SIG_BLOCK, nullptr, &state.mask_before);
  state.config = config;
  state.rootfs = std::move(rootfs);
  pod.cgroup().Make({.pids = config.pids_limit});
  state.MakePlan(pod);
  state.Clone();
  pod.KeepMounts(state.pid);
  pod.cgroup().CloseDescriptors();
  state.Converse(pod.map());
  return process;
}

ExitStatus Process::Wait() {
  if (state_->config.terminal)
    state_->console = std::make_unique<Console>(std::move(state_->master), state_->config.interactive);
  const int status = Attend(state_->pid, state_->pidfd.get(), state_->console.get(), state_->config.stop_signal);
  state_->pid = -1;
  state_->Kill();
  if (WIFSIGNALED(status))
    return {128 + WTERMSIG(status), true};
  return {WEXITSTATUS(status), false};
}

}  // namespace gantry::runner
