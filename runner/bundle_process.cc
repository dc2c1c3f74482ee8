#include "runner/bundle_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/pass_descriptor.h"
#include "runner/attend.h"
#include "runner/filter_compiler.h"
#include "runner/init_params.h"
#include "runner/launch.h"
#include "runner/user.h"
#include "runner/userns.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxSmallFile = 4096;
constexpr unsigned kMaxPreserved = 128;

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }

std::string ReadSmall(const char* path) {
  try {
    const UniqueFd fd = OpenFile(path, O_RDONLY);
    return ReadAll(fd.get(), kMaxSmallFile, path);
  } catch (const Error&) {
    return {};
  }
}

// Of the host's user namespace only what we have can be given. A container that asks for more runs with less, as root
// on this machine does, and is told so.
void Intersect(SpecCapabilities& wanted, const Notes& note) {
  const uint64_t own = OwnCapabilities();
  const uint64_t missing =
      (wanted.bounding | wanted.permitted | wanted.effective | wanted.inheritable | wanted.ambient) & ~own;
  if (missing == 0)
    return;
  std::string names;
  for (int i = 0; i < 64; ++i) {
    if ((missing >> i & 1) != 0)
      names += " " + CapabilityName(i);
  }
  note("the container does not get what this runtime does not have:" + names);
  for (uint64_t* set : {&wanted.bounding, &wanted.permitted, &wanted.effective, &wanted.inheritable, &wanted.ambient})
    *set &= own;
}

// The kernel raises to ambient only what is permitted and inheritable; the rest has no effect under any runtime.
void ReduceAmbient(SpecCapabilities& sets) { sets.ambient &= sets.permitted & sets.inheritable; }

// What init needs beside what the process is to have.
uint64_t NeededByInit(const SpecProcess& process, bool filter) {
  const SpecCapabilities& sets = process.capabilities;
  uint64_t out = sets.bounding | sets.permitted | sets.inheritable | sets.ambient | Bit(CAP_CHOWN);
  if (filter && !process.no_new_privileges)
    out |= Bit(CAP_SYS_ADMIN);
  if (!process.limits.empty())
    out |= Bit(CAP_SYS_RESOURCE);
  if (process.scheduler || process.io_priority)
    out |= Bit(CAP_SYS_NICE) | Bit(CAP_SYS_ADMIN);
  return out;
}

bool AppArmorActive() { return ReadSmall("/sys/module/apparmor/parameters/enabled").starts_with('Y'); }
bool SelinuxActive() { return access("/sys/fs/selinux/enforce", F_OK) == 0; }

void AddLabels(const SpecProcess& process, const Notes& note, InitRequest& request) {
  if (!process.apparmor_profile.empty()) {
    if (AppArmorActive())
      request.apparmor = "exec " + process.apparmor_profile;
    else
      note("AppArmor is not active: profile " + Quoted(process.apparmor_profile) + " is not applied");
  }
  if (!process.selinux_label.empty()) {
    if (SelinuxActive())
      request.selinux = process.selinux_label;
    else
      note("SELinux is not active: label " + Quoted(process.selinux_label) + " is not applied");
  }
}

std::vector<sock_filter> FilterOf(const Spec& spec) {
  return spec.seccomp ? CompileFilter(*spec.seccomp) : std::vector<sock_filter>();
}

// What init is told of any process of the bundle, but for FilterOf `spec`.
InitRequest RequestFor(const Spec& spec, const SpecProcess& process, const Notes& note) {
  InitRequest request;
  request.process = process;
  request.direct = true;
  request.owns_streams = true;
  if (spec.seccomp) {
    request.filter_flags = spec.seccomp->flags;
    request.notifies = spec.seccomp->notifies();
  }
  if (spec.Namespace(CLONE_NEWUSER) == nullptr)
    Intersect(request.process.capabilities, note);
  ReduceAmbient(request.process.capabilities);
  AddLabels(request.process, note, request);
  return request;
}

UniqueFd ConnectTo(const std::string& path, std::string_view what) {
  // By the directory's descriptor: paths of sockets are at most 107 bytes long.
  const size_t slash = path.rfind('/');
  const UniqueFd dir = OpenFile(slash == std::string::npos ? "." : path.substr(0, slash + 1), O_PATH | O_DIRECTORY);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text =
      "/proc/self/fd/" + std::to_string(dir.get()) + "/" + (slash == std::string::npos ? path : path.substr(slash + 1));
  if (text.size() >= sizeof name.sun_path)
    throw Error(ErrorKind::kUsage, "the name of the socket " + Quoted(path) + " is too long");
  text.copy(name.sun_path, sizeof name.sun_path - 1);
  UniqueFd out(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!out || connect(out.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0)
    ThrowErrno("connect to " + std::string(what) + " " + Quoted(path));
  return out;
}

// As the container counts it, out of "NSpid:" with the outermost first.
pid_t PidInside(pid_t pid) {
  const std::string text = ReadSmall(("/proc/" + std::to_string(pid) + "/status").c_str());
  const size_t line = text.find("\nNSpid:");
  if (line == std::string::npos)
    return pid;
  const std::string_view numbers = std::string_view(text).substr(line + 7, text.find('\n', line + 7) - line - 7);
  return ParseDecimal<pid_t>(numbers.substr(numbers.find_last_of("\t ") + 1)).value_or(pid);
}

// Descriptors that the caller has open for the container, from 3 on; those of socket activation among them.
std::vector<int> Preserved(const ProcessOptions& options, SpecProcess& process, bool first_process) {
  unsigned count = options.preserve_fds;
  const char* activated = getenv("LISTEN_FDS");
  const char* for_whom = getenv("LISTEN_PID");
  const unsigned sockets = ParseDecimal<unsigned>(activated != nullptr ? activated : "0").value_or(0);
  const bool ours = for_whom == nullptr || for_whom == std::to_string(getpid());
  if (sockets > 0 && ours && first_process && sockets <= kMaxPreserved) {
    count += sockets;
    process.env.push_back("LISTEN_FDS=" + std::to_string(sockets));
    process.env.emplace_back("LISTEN_PID=1");
  }
  if (count > kMaxPreserved)
    throw Error(ErrorKind::kUsage, "more than 128 descriptors are to be preserved");
  std::vector<int> out;
  for (int fd = 3; fd < 3 + static_cast<int>(count); ++fd) {
    // What we have opened ourselves since is none of the caller's, and no business of the container (CVE-2024-21626).
    const int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC) != 0)
      throw Error(ErrorKind::kUsage, "descriptor " + std::to_string(fd) + " is to be preserved and is not open",
                  "give --preserve-fds the number of those that are open from 3 on");
    out.push_back(fd);
  }
  return out;
}

void AdjustOom(pid_t pid, const SpecProcess& process, bool lenient) {
  if (!process.oom_score_adj)
    return;
  const std::string path = "/proc/" + std::to_string(pid) + "/oom_score_adj";
  if (const int error = WriteControl(path, std::to_string(*process.oom_score_adj)); error != 0) {
    // Without privileges it can be raised, not lowered.
    if (!lenient || (error != EACCES && error != EPERM))
      ThrowErrno("write " + path, error);
  }
}

// Our own processors, which whoever is made meanwhile begins with; as they were afterwards.
class Affinity {
 public:
  explicit Affinity(const CpuSet& set) {
    if (set.empty())
      return;
    before_.resize(kMaxSpecCpu / 64 + 1);
    const long size = syscall(SYS_sched_getaffinity, 0, before_.size() * sizeof before_[0], before_.data());
    if (size < 0 || syscall(SYS_sched_setaffinity, 0, set.size() * sizeof set[0], set.data()) < 0)
      ThrowErrno("run on the processors of process.execCPUAffinity.initial");
    before_.resize(static_cast<size_t>(size) / sizeof before_[0]);
  }
  Affinity(const Affinity&) = delete;
  Affinity& operator=(const Affinity&) = delete;
  ~Affinity() {
    if (!before_.empty())
      syscall(SYS_sched_setaffinity, 0, before_.size() * sizeof before_[0], before_.data());
  }

 private:
  CpuSet before_;
};

// What the seccomp agent is told (runtime-spec, "The Container Process State").
std::string Notice(const Spec& spec, const ContainerState& state, pid_t pid) {
  const json::Object out{{"ociVersion", spec.version},
                         {"fds", json::Array{"seccompFd"}},
                         {"pid", pid},
                         {"metadata", spec.seccomp->listener_metadata},
                         {"state", state.Print(Status::kCreating, state.pid)}};
  return json::Print(out);
}

}  // namespace

std::vector<std::string> RunRuntimeHooks(const std::vector<SpecHook>& hooks, const std::string& state, bool must) {
  std::vector<std::string> out;
  const auto pointers = [](const std::vector<std::string>& texts) {
    std::vector<char*> list;
    for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
    list.push_back(nullptr);
    return list;
  };
  for (const SpecHook& hook : hooks) {
    const std::vector<char*> arguments = pointers(hook.args);
    const std::vector<char*> environment = pointers(hook.env);
    const HookPlan plan = {hook.path.c_str(), arguments.data(), environment.data(),
                           hook.timeout ? static_cast<int>(*hook.timeout) * 1000 : -1};
    HookFailure failure;
    if (RunHook(plan, state.data(), state.size(), failure))
      continue;
    std::string why = failure.error == ETIME ? "it took longer than its timeout"
                      : failure.error != 0   ? strerror(failure.error)
                                             : "it ended with " + std::to_string(failure.code);
    const std::string output(failure.output, strnlen(failure.output, sizeof failure.output));
    if (!output.empty())
      why += " (" + Quoted(output.substr(0, output.find('\n'))) + ")";
    out.push_back("cannot run the hook " + Quoted(hook.path) + ": " + why);
    if (must)
      throw Error(ErrorKind::kFailed, out.back(), "see hooks in the bundle's config.json");
  }
  return out;
}

void AwaitExecution(int socket, const Spec& spec) {
  while (auto received = ReceiveReport(socket)) {
    if (received->report.kind == Report::kFailed)
      throw ExplainStart(received->report, spec).error;
  }
}

void WritePidFile(const std::string& path, pid_t pid) {
  const size_t slash = path.rfind('/');
  const Dir dir = Dir::Open(slash == std::string::npos ? "." : path.substr(0, slash + 1));
  StagedFile file(dir, 0644);
  WriteFull(file.fd(), AsBytes(std::to_string(pid)), path);
  file.Commit(RelPath::Parse(slash == std::string::npos ? path : path.substr(slash + 1)), false);
}

BundleProcess::BundleProcess(BundleProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      socket_(std::move(other.socket_)),
      master_(std::move(other.master_)),
      console_(std::move(other.console_)),
      mounts_(std::move(other.mounts_)),
      blocked_(std::exchange(other.blocked_, false)),
      mask_before_(other.mask_before_) {}

BundleProcess::~BundleProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (blocked_)
    sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void BundleProcess::MapIds(const Spec& spec, const ProcessSurroundings& around) {
  AdjustOom(pid_, *spec.process, !around.place.privileged);
  if (!spec.NewNamespace(CLONE_NEWUSER))
    return;
  ApplyIdMap(pid_, {spec.uids, spec.gids, {}});
  const char go = 1;
  if (send(socket_.get(), &go, 1, MSG_NOSIGNAL) < 0 && !FailedMeanwhile())
    ThrowErrno("start the container");
}

void BundleProcess::SendParams(InitRequest& request, const std::vector<int>& passed) {
  request.passed = passed.size();
  const UniqueFd params = MakeInitParams(request);
  const bool sent = PassDescriptor(socket_.get(), params.get()) &&
                    (passed.empty() || PassDescriptors(socket_.get(), passed, std::string_view("\1", 1)));
  if (!sent && !FailedMeanwhile())
    ThrowErrno("send the container its parameters");
  sent_ = true;
}

template <typename Setup>
void BundleProcess::Converse(const Setup& setup, const Spec* spec, InitRequest& request, const std::vector<int>& passed,
                             ProcessSurroundings& around) {
  bool ready = false;
  while (auto received = ReceiveReport(socket_.get())) {
    const auto kind = received->report.kind;
    if (kind == Report::kFailed)
      throw setup.Explain(received->report, request.process).error;
    if (kind == Report::kConsole) {
      master_ = std::move(received->fd);
    } else if (kind == Report::kMounted && spec != nullptr) {
      const std::string state = json::Print(around.state->Print(Status::kCreating, pid_));
      RunRuntimeHooks(spec->hooks.prestart, state, true);
      RunRuntimeHooks(spec->hooks.create_runtime, state, true);
      const UniqueFd inside = MemoryFile("state", json::Print(around.state->Print(Status::kCreating, PidInside(pid_))));
      if (!PassDescriptor(socket_.get(), inside.get()) && !FailedMeanwhile())
        ThrowErrno("send the container its state");
    } else if (kind == Report::kReady) {
      ready = true;
      if (spec != nullptr) {
        around.state->set_up = true;
        around.dir->Save(*around.state);
      }
      if (!sent_)
        SendParams(request, passed);
    }
  }
  if (!ready)
    throw Error(ErrorKind::kFailed, "the container's first process ended before it was set up",
                "was it killed, for its limit of memory is too small? see the kernel's log for 'Out of memory'");
  socket_.Reset();
}

void BundleProcess::HandOver(const ProcessSurroundings& around, const SpecProcess& process) {
  const std::string& listener = around.options.pidfd_socket;
  if (!listener.empty()) {
    const UniqueFd socket = ConnectTo(listener, "the pidfd socket");
    const int pidfd = pidfd_.get();
    if (!PassDescriptors(socket.get(), std::span(&pidfd, 1), "pidfd"))
      ThrowErrno("send the process to the pidfd socket");
  }
  if (!process.terminal || !master_)
    return;
  if (process.console_size) {
    const winsize size = {process.console_size->first, process.console_size->second, 0, 0};
    ioctl(master_.get(), TIOCSWINSZ, &size);
  }
  if (around.options.console_socket.empty())
    return;
  const UniqueFd socket = ConnectTo(around.options.console_socket, "the console socket");
  const int master = master_.get();
  if (!PassDescriptors(socket.get(), std::span(&master, 1), "/dev/ptmx"))
    ThrowErrno("send the terminal to the console socket");
  master_.Reset();
}

void BundleProcess::BlockSignals() {
  mask_before_ = BlockForwardedSignals();
  blocked_ = true;
}

void BundleProcess::Adopt(Launched launched) {
  pid_ = launched.pid;
  pidfd_ = std::move(launched.pidfd);
  socket_ = std::move(launched.socket);
}

// What is to be passed to init; `kept` owns what is opened here.
std::vector<int> BundleProcess::OpenPassed(const Spec& spec, const ProcessSurroundings& around, InitRequest& request,
                                           bool first, std::vector<UniqueFd>& kept) {
  std::vector<int> out;
  const auto add = [&](UniqueFd fd) { out.push_back(kept.emplace_back(std::move(fd)).get()); };
  if (request.waits)
    add(around.dir->Listen());
  if (request.notifies)
    add(ConnectTo(spec.seccomp->listener_path, "the seccomp agent"));
  for (const int fd : Preserved(around.options, request.process, first)) out.push_back(fd);
  return out;
}

// The process is made while its groups are, where its network is in the making as well.
void BundleProcess::LaunchFirst(const Spec& spec, BundleSetup& setup, ProcessSurroundings& around) {
  Launching launching(setup.plan(), setup.namespaces(), around.network);
  if (around.make_groups)
    around.make_groups();
  Adopt(launching.Finish());
  MapIds(spec, around);
  const char there = 1;
  if (setup.plan().late_task_count > 0 && send(socket_.get(), &there, 1, MSG_NOSIGNAL) < 0 && !FailedMeanwhile())
    ThrowErrno("tell the container that its control groups are there");
  around.state->pid = pid_;
  around.state->start_time = StartTimeOf(pid_).value_or(0);
}

BundleProcess BundleProcess::StartNew(const Spec& spec, ProcessSurroundings& around, bool waits) {
  InitRequest request = RequestFor(spec, *spec.process, around.runtime.note);
  request.process.final_affinity.clear();  // for those that come later
  if (!spec.mount_label.empty() && !SelinuxActive())
    around.runtime.note("SELinux is not active: mount label " + Quoted(spec.mount_label) + " is not applied");
  request.waits = waits;
  request.hooks = spec.hooks.start_container;
  std::vector<UniqueFd> kept;
  const std::vector<int> passed = OpenPassed(spec, around, request, true, kept);
  request.keep_groups = GroupsAreFixed(spec);
  around.place.labels = !request.apparmor.empty() || !request.selinux.empty();
  around.place.capabilities = NeededByInit(request.process, spec.seccomp.has_value());

  // The process may still look at it until it is dead.
  BundleSetup setup(spec, around.place, around.state->cgroup);
  BundleProcess out;
  if (!waits && !around.options.detach)
    out.BlockSignals();
  out.LaunchFirst(spec, setup, around);
  // What init is told later is prepared while the process is busy.
  const std::vector<sock_filter> filter = FilterOf(spec);
  request.filter = filter;
  // Poststop hooks may undo what the mounts were made of.
  if (out.blocked_ && spec.hooks.poststop.empty())
    out.mounts_.emplace(out.pid_);
  // Before there is anything that could be executed: whoever finds us killed finds the process.
  around.dir->Save(*around.state);
  if (request.notifies)
    request.notice = Notice(spec, *around.state, out.pid_);
  if (!request.hooks.empty())
    request.state = json::Print(around.state->Print(Status::kCreated, PidInside(out.pid_)));
  // Init need not wait for them, where nobody else is in its namespace and no hook's turn comes first.
  if (spec.NewNamespace(CLONE_NEWPID) && !setup.plan().bundle->await_hooks)
    out.SendParams(request, passed);
  out.Converse(setup, &spec, request, passed, around);
  if (around.network != nullptr)
    around.network->Release();
  out.HandOver(around, request.process);
  if (out.mounts_)
    out.mounts_->Begin();
  return out;
}

BundleProcess BundleProcess::StartInside(const Spec& spec, const SpecProcess& process, ProcessSurroundings& around) {
  BundleProcess out;
  const std::vector<sock_filter> filter = FilterOf(spec);
  InitRequest request = RequestFor(spec, process, around.runtime.note);
  request.filter = filter;
  std::vector<UniqueFd> kept;
  const std::vector<int> passed = OpenPassed(spec, around, request, false, kept);
  if (!around.options.detach)
    out.BlockSignals();
  EntrySetup setup(around.state->pid, around.state->cgroup, request.process,
                   !request.apparmor.empty() || !request.selinux.empty(),
                   NeededByInit(request.process, !filter.empty()));
  request.keep_groups = setup.plan().single_id;
  const std::string keyring = KeyringName(around.state->id);
  setup.plan().keyring = keyring.c_str();
  setup.plan().new_keyring = around.state->own_keys;
  // Looked at once more with its namespaces open: then the number cannot have become another's.
  if (!around.state->Alive())
    throw Error(ErrorKind::kFailed, "container not running: " + Quoted(around.state->id) + " is stopped");
  {
    const Affinity affinity(request.process.first_affinity);
    out.Adopt(Launch(setup.plan(), setup.namespaces()));
  }
  if (request.notifies)
    request.notice = Notice(spec, *around.state, out.pid_);
  if (out.pid_ > 0)
    AdjustOom(out.pid_, request.process, !around.place.privileged);
  out.Converse(setup, nullptr, request, passed, around);
  out.HandOver(around, request.process);
  return out;
}

ExitStatus BundleProcess::Wait() {
  if (master_)
    console_ = std::make_unique<Console>(std::move(master_), true);
  const int status = runner::Attend(pid_, pidfd_.get(), console_.get(), SIGTERM);
  pid_ = -1;
  console_.reset();
  return ExitStatusOf(status);
}

}  // namespace gantry::runner
