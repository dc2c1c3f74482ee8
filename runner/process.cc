#include "runner/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <tuple>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"
#include "runner/attend.h"
#include "runner/bundle_cgroup.h"
#include "runner/console.h"
#include "runner/container_state.h"
#include "runner/etc_files.h"
#include "runner/idmapped_mount.h"
#include "runner/init_params.h"
#include "runner/launch.h"
#include "runner/limits.h"
#include "runner/mapped_root.h"
#include "runner/sealed_init.h"
#include "runner/setup.h"
#include "runner/user.h"
#include "runner/userns.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxSecretBytes = 1024 * 1024;

// Pipes of ours that the container's user must be able to open again through /dev/stdout.
void GiveAwayPipes(uid_t uid) {
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat status {};
    if (fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) && status.st_uid != uid &&
        fchown(fd, uid, static_cast<gid_t>(-1)) < 0)
      return;  // another user namespace's pipe: the open descriptor still works
  }
}

// A label that nothing enforces would be a promise.
void RequireLabels(const RunConfig& config) {
  if (!config.apparmor.empty() && access("/sys/kernel/security/apparmor/profiles", F_OK) < 0)
    throw Error(ErrorKind::kUnsupported,
                "AppArmor is not active: profile " + Quoted(config.apparmor) + " cannot be set",
                "leave it out, or run where AppArmor is");
  if (!config.selinux.empty() && access("/sys/fs/selinux/enforce", F_OK) < 0)
    throw Error(ErrorKind::kUnsupported, "SELinux is not active: label " + Quoted(config.selinux) + " cannot be set",
                "leave it out, or run where SELinux is");
}

}  // namespace

// Owns what the plan points at.
struct Process::State {
  RunConfig config;
  Rootfs rootfs;
  std::string hostname, upper, work, mount_point;
  std::vector<const char*> layers;
  std::vector<std::string> volume_sources;
  std::vector<std::vector<std::string>> volume_options;
  std::vector<std::vector<const char*>> volume_data;
  std::vector<VolumePlan> volumes;
  std::vector<UniqueFd> volume_trees;  // of a pod with ids of its own
  std::vector<int> shown_mapped;       // those of them that are shown under those ids
  std::vector<std::string> secret_texts;
  std::vector<SecretPlan> secrets;
  std::vector<NodePlan> nodes;
  BundleCgroup cgroup;
  std::string note;
  std::string app;
  SharedNamespaces* shared = nullptr;
  std::vector<CgroupMountPlan> cgroups;
  std::vector<int> tasks;
  std::vector<UniqueFd> duplicates;
  EtcFiles etc;
  std::vector<EtcFile> etc_files;
  std::optional<SharedEtcFiles> later_etc;
  SetupPlan plan;
  int unified = -1;

  sigset_t mask_before{};
  UniqueFd init;
  UniqueFd network;
  UniqueFd socket;
  UniqueFd pidfd;
  pid_t pid = -1;
  std::unique_ptr<Console> console;
  UniqueFd master;
  std::optional<Error> failure;

  void PlanVolumes(const Pod& pod);
  void PlanSecrets();
  void PlanGroups();
  void PlanEtc(const Pod& pod);
  void MakePlan(Pod& pod);
  void Clone();
  void Hold();
  void Introduce(const Dir& root, const Pod& pod);
  void SendRoot(const IdMap& map);
  void AttachNetwork(Pod& pod);
  void Converse(Pod& pod);
  void Kill();
};

void Process::State::PlanVolumes(const Pod& pod) {
  const size_t count = config.volumes.size();
  volume_sources.resize(count);
  volume_options.resize(count);
  volume_data.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const Volume& volume = config.volumes[i];
    VolumePlan plan_of{nullptr, volume.target.c_str(), volume.recursive, volume.read_only};
    if (volume.kind == Volume::Kind::kTmpfs) {
      std::array<char, 16> mode{};
      std::snprintf(mode.data(), mode.size(), "mode=%o", volume.mode.value_or(01777));
      volume_options[i] = {mode.data(), "uid=" + std::to_string(volume.uid.value_or(0)),
                           "gid=" + std::to_string(volume.gid.value_or(0))};
      if (volume.size)
        volume_options[i].push_back("size=" + std::to_string(*volume.size));
      for (const std::string& option : volume_options[i]) volume_data[i].push_back(option.c_str());
      volume_data[i].push_back(nullptr);
      plan_of.data = volume_data[i].data();
      plan_of.executable = volume.executable;
    } else {
      volume_sources[i] = volume.kind == Volume::Kind::kEmpty ? pod.Path("volumes/" + volume.source) : volume.source;
      plan_of.source = volume_sources[i].c_str();
      // Root of the user namespace may not go where root may.
      if (pod.owns_ids()) {
        volume_trees.push_back(AboveControl(OpenTree(volume_sources[i], volume.recursive, false).get()));
        plan_of.tree = volume_trees.back().get();
        if (volume.kind == Volume::Kind::kEmpty)
          shown_mapped.push_back(plan_of.tree);
      }
    }
    volumes.push_back(plan_of);
  }
}

void Process::State::PlanSecrets() {
  for (const Secret& secret : config.secrets) secret_texts.push_back(ReadFile(secret.source, kMaxSecretBytes));
  for (size_t i = 0; i < config.secrets.size(); ++i) {
    const Secret& secret = config.secrets[i];
    secrets.push_back(
        {secret.name.c_str(), secret_texts[i].data(), secret_texts[i].size(), secret.uid, secret.gid, secret.mode});
  }
}

void Process::State::PlanGroups() {
  for (const BundleCgroup::Group& group : cgroup.groups())
    cgroups.push_back({group.name.c_str(), group.controllers.c_str()});
  for (const UniqueFd& fd : cgroup.tasks()) {
    duplicates.push_back(fd.get() > kProcFd ? UniqueFd() : AboveControl(fd.get()));
    tasks.push_back(duplicates.back() ? duplicates.back().get() : fd.get());
  }
  unified = cgroup.unified();
}

// Of the first app of a network that is still to be attached they are known later.
void Process::State::PlanEtc(const Pod& pod) {
  if (IsAttached(config.network) && pod.network() == nullptr) {
    later_etc.emplace();
    plan.await_network = true;
    plan.etc = later_etc->files();
    plan.etc_count = SharedEtcFiles::kCount;
    return;
  }
  etc = MakeEtcFiles(config, hostname, pod.network());
  for (const auto& [name, text] : etc) etc_files.push_back({name.c_str(), text.data(), text.size()});
  plan.etc = etc_files.data();
  plan.etc_count = etc_files.size();
}

void Process::State::MakePlan(Pod& pod) {
  if (rootfs.layers.empty() || rootfs.layers.size() > kMaxOverlayLayers)
    throw Error(ErrorKind::kUnsupported, "an image of " + std::to_string(rootfs.layers.size()) + " layers cannot run",
                "overlayfs stacks 1 to 500; squash it with: gantry convert");
  const bool host_network = config.network == Network::kHost;
  hostname = ChooseHostname(config, pod.uuid());
  PlanEtc(pod);
  const std::string trees = pod.AppPath(app);
  upper = rootfs.upper.empty() ? trees + "/upper" : rootfs.upper;
  work = rootfs.work.empty() ? trees + "/work" : rootfs.work;
  // It hides what is below it, and the empty volumes of a pod of one app are there. With ids of its own they are open
  // before, and whoever makes the root needs both trees.
  mount_point = pod.owns_ids() ? trees : trees + "/upper";
  for (const std::string& layer : rootfs.layers) layers.push_back(layer.c_str());
  PlanVolumes(pod);
  PlanSecrets();
  PlanGroups();
  nodes = NodesOf(config);
  init = AboveControl(SealedInit().get());
  plan.init = init.get();
  plan.inner_root = pod.map() && shared != nullptr && !shared->held.empty();
  plan.user_namespace = pod.map() && !plan.inner_root;
  plan.root_comes = pod.owns_ids();
  plan.single_id = pod.map() && pod.map()->single();
  plan.host_network = host_network;
  plan.metadata = pod.WantsListener();
  plan.terminal = config.terminal;
  plan.interactive = config.interactive;
  plan.read_only_rootfs = config.read_only_rootfs;
  plan.user_xattrs = rootfs.user_xattrs;
  plan.layers = layers.data();
  plan.layer_count = layers.size();
  plan.upper = upper.c_str();
  plan.work = work.c_str();
  plan.mount_point = mount_point.c_str();
  plan.volumes = volumes.data();
  plan.volume_count = volumes.size();
  plan.secrets = secrets.data();
  plan.secret_count = secrets.size();
  plan.nodes = nodes.data();
  plan.node_count = nodes.size();
  plan.tasks = tasks.data();
  plan.task_count = tasks.size();
  // Also where there is no group for it: then it does not see in whose it is.
  plan.joined_cgroup = true;
  plan.cgroups = cgroups.data();
  plan.cgroup_count = cgroups.size();
  plan.hostname = hostname.c_str();
  plan.working_dir = config.working_dir.c_str();
  plan.capabilities = CapabilitiesOfInit(config);
  plan.no_new_privs = !config.new_privileges;
  plan.labels = !config.apparmor.empty() || !config.selinux.empty();
}

void Process::State::Clone() {
  mask_before = BlockForwardedSignals();
  Namespaces namespaces{.made = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS, .cgroup = unified};
  if (plan.user_namespace)
    namespaces.made |= CLONE_NEWUSER;
  if (!plan.host_network && plan.network < 0)
    namespaces.made |= CLONE_NEWNET;
  if (shared != nullptr) {
    for (const auto& [flag, fd] : shared->held) {
      namespaces.made &= ~static_cast<uint64_t>(flag);
      namespaces.entered.emplace_back(flag, fd.get());
    }
  }
  Launched launched = Launch(plan, namespaces);
  pid = launched.pid;
  pidfd = std::move(launched.pidfd);
  socket = std::move(launched.socket);
}

// While init waits for its parameters its namespaces cannot go away.
void Process::State::Hold() {
  if (shared == nullptr || !shared->held.empty())
    return;
  const auto hold = [&](int flag, const char* name) {
    const std::string path = "/proc/" + std::to_string(pid) + "/ns/" + name;
    shared->held.emplace_back(flag, AboveControl(OpenFile(path, O_RDONLY).get()));
  };
  if (plan.user_namespace)
    hold(CLONE_NEWUSER, "user");
  if (!plan.host_network)
    hold(CLONE_NEWNET, "net");
  hold(CLONE_NEWIPC, "ipc");
  hold(CLONE_NEWUTS, "uts");
}

// The root is mounted: who the user is can be read there, while the child goes on.
void Process::State::Introduce(const Dir& root, const Pod& pod) {
  const std::optional<IdMap>& map = pod.map();
  Credentials who = ResolveUser(root, config.user);
  who.groups.insert(who.groups.end(), config.groups.begin(), config.groups.end());
  if (map && (!map->HasUid(who.uid) || !map->HasGid(who.gid)))
    throw Error(ErrorKind::kUnsupported,
                "user " + std::to_string(who.uid) + ":" + std::to_string(who.gid) +
                    (pod.owns_ids() ? " is not among the ids of the pod" : " is not mapped without root"),
                pod.owns_ids()  ? "give it more of them with --userns=auto:size=N"
                : map->single() ? map->note
                                : "choose ids below 65536 with --user, or run as root");
  if ((!map || pod.owns_ids()) && !config.terminal)
    GiveAwayPipes(map ? map->OutsideUid(who.uid) : who.uid);
  InitRequest request = RequestFor(config, who, hostname, FilterFor(config));
  if (!config.apparmor.empty())
    request.apparmor = "exec " + config.apparmor;
  request.selinux = config.selinux;
  request.keep_groups = plan.single_id;
  request.passed = config.sockets;
  std::vector<int> sockets(config.sockets);
  for (size_t i = 0; i < sockets.size(); ++i) sockets[i] = 3 + static_cast<int>(i);
  if (config.sockets > 0) {
    request.process.env.push_back("LISTEN_FDS=" + std::to_string(config.sockets));
    request.process.env.emplace_back("LISTEN_PID=0000000000");  // init knows it
  }
  if (const std::string url = pod.metadata_url(); !url.empty())
    request.process.env.push_back("AC_METADATA_URL=" + url);
  const UniqueFd params = MakeInitParams(request);
  const bool sent = PassDescriptor(socket.get(), params.get()) &&
                    (sockets.empty() || PassDescriptors(socket.get(), sockets, std::string_view("\1", 1)));
  if (!sent && !FailedMeanwhile())
    ThrowErrno("send the container its parameters");
}

// The container's, made by us, for its user namespace may not stack layers that are shown under other ids.
void Process::State::SendRoot(const IdMap& map) {
  const UniqueFd space = AboveControl(OpenFile("/proc/" + std::to_string(pid) + "/ns/user", O_RDONLY).get());
  for (const int tree : shown_mapped) MapIds(tree, space, true);
  const MappedRoot root = MakeMappedRoot(plan, space, map);
  if (!root.tree)
    throw Explain(root.failure, config, plan).error;
  if (!PassDescriptor(socket.get(), root.tree.get()) && !FailedMeanwhile())
    ThrowErrno("send the container its root");
}

// While the child mounts its root.
void Process::State::AttachNetwork(Pod& pod) {
  pod.AttachNetwork(pid);
  later_etc->Fill(MakeEtcFiles(config, hostname, pod.network()));
  const char go = 1;
  if (send(socket.get(), &go, 1, MSG_NOSIGNAL) < 0 && !FailedMeanwhile())
    ThrowErrno("start the container");
}

void Process::State::Converse(Pod& pod) {
  if (config.oom_score_adj) {
    const std::string path = "/proc/" + std::to_string(pid) + "/oom_score_adj";
    if (const int error = WriteControl(path, std::to_string(*config.oom_score_adj)); error != 0)
      ThrowErrno("set the OOM score", error);
  }
  if (plan.user_namespace)
    ApplyIdMap(pid, *pod.map());
  if (plan.root_comes) {
    SendRoot(*pod.map());
  } else if (plan.user_namespace) {
    const char go = 1;
    if (send(socket.get(), &go, 1, MSG_NOSIGNAL) < 0)
      ThrowErrno("start the container");
  }
  if (later_etc)
    AttachNetwork(pod);
  bool ready = false;
  while (auto received = ReceiveReport(socket.get())) {
    if (received->report.kind == Report::kRoot)
      Introduce(Dir(std::move(received->fd), "the container's root"), pod);
    else if (received->report.kind == Report::kConsole)
      master = std::move(received->fd);
    else if (received->report.kind == Report::kListener)
      pod.ServeMetadata(received->fd);
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
                "was it killed, for its limit of memory is too small? see the kernel's log for 'Out of memory'");
  socket.Reset();
  volume_trees.clear();  // the container has them
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

const std::string& Process::note() const { return state_->note; }
pid_t Process::pid() const { return state_->pid; }
int Process::pidfd() const { return state_->pidfd.get(); }
int Process::stop_signal() const { return state_->config.stop_signal; }
UniqueFd Process::TakeMaster() { return std::move(state_->master); }

ExitStatus Process::Reap() {
  int status = 0;
  while (waitpid(state_->pid, &status, 0) < 0 && errno == EINTR) {
  }
  return Ended(status);
}

Process Process::Start(const RunConfig& config, Rootfs rootfs, Pod& pod, const std::string& app,
                       SharedNamespaces* shared, EarlyNetwork* network) {
  Process process(std::make_unique<State>());
  State& state = *process.state_;
  sigprocmask(SIG_BLOCK, nullptr, &state.mask_before);
  state.config = config;
  state.rootfs = std::move(rootfs);
  state.app = app.empty() ? pod.plan().apps.front().name : app;
  state.shared = shared;
  RequireLabels(config);
  // Of ALL, and of the default: who asks for one by its name has been told.
  if (!pod.map())
    state.config.capabilities &= OwnCapabilities();
  std::optional<EarlyNetwork> own;
  const bool early = MakesNetworkEarly(config.network) && !pod.map() && shared == nullptr;
  if (early && network == nullptr)
    network = &own.emplace();
  std::tie(state.cgroup, state.note) = MakeGroups(config, pod.GroupName(state.app));
  state.MakePlan(pod);
  // What is of no use here is not held either.
  if (UniqueFd made = network != nullptr ? network->Take() : UniqueFd(); made && early)
    state.plan.network = (state.network = AboveControl(made.get())).get();
  state.Clone();
  state.network.Reset();
  pod.KeepMounts(state.pid);
  state.cgroup.CloseDescriptors();
  state.Hold();
  pod.Append({PodEvent::Kind::kStarted, state.app, state.pid, StartTimeOf(state.pid).value_or(0)});
  state.Converse(pod);
  return process;
}

ExitStatus Process::Wait(int settles, const std::function<void()>& settled) {
  if (state_->config.terminal)
    state_->console = std::make_unique<Console>(std::move(state_->master), state_->config.interactive);
  const int status =
      Attend(state_->pid, state_->pidfd.get(), state_->console.get(), state_->config.stop_signal, settles, settled);
  return Ended(status);
}

ExitStatus Process::Ended(int status) {
  state_->pid = -1;
  state_->Kill();
  return ExitStatusOf(status);
}

}  // namespace gantry::runner
