#include "tools/run_pod.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "runner/process.h"
#include "runner/supervisor.h"
#include "runner/vm/root_image.h"
#include "runner/vm/virtual_machine.h"
#include "tools/appc_files.h"
#include "tools/run_gather.h"
#include "tools/run_ids.h"
#include "tools/run_machine.h"
#include "tools/run_services.h"

namespace gantry::tools {
namespace {

constexpr MessageBounds kReportBounds{3, 64 * 1024, "the process that attends to the pod"};
constexpr char kStarted = 's';
constexpr char kNotExecuted = 'n';  // code, message, hint

void WriteUuid(const PodOptions& options, const std::string& uuid) {
  if (options.uuid_file.empty())
    return;
  const UniqueFd file = OpenFile(options.uuid_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  WriteFull(file.get(), AsBytes(uuid + "\n"), options.uuid_file);
}

void PrintUuid(const PodOptions& options, const std::string& uuid) {
  if (options.json)
    std::printf("%s\n", json::Print(json::Object{{"uuid", uuid}}).c_str());
  else
    std::printf("%s\n", uuid.c_str());
}

runner::SuperviseOptions HowToSupervise(const PodOptions& options) {
  runner::SuperviseOptions out;
  out.detached = options.detach;
  out.log = options.log;
  out.note = [&options](const std::string& text) { Note(options.common, text); };
  out.failed = [](const Error& error) { PrintError(error); };
  out.notify = RelayTo(options);
  out.started = [&options] { NotifyReady(options); };
  return out;
}

// Says why the only app was not executed, if so, and waits for it.
int Await(const PodOptions& options, const runner::Pod& pod, runner::Process process) {
  if (!process.note().empty())
    Note(options.common, process.note());
  if (process.failure())
    PrintError(*process.failure());
  else
    NotifyReady(options);
  const int code = process.Wait(runner::kSettled, [&] { pod.Confine(); }).code;
  if (pod.plan().kept)
    pod.Append({runner::PodEvent::Kind::kExited, pod.plan().apps.front().name, 0, 0, code});
  return code;
}

// The network of the one app of a pod in the foreground: of all that is to be made it takes longest, and is made before
// anything is known of the image, in the time that the process takes that decides about that. None where it would be of
// no use, or a process is forked that goes on as we are.
std::unique_ptr<runner::EarlyNetwork> BeginNetwork(const PodOptions& options, const std::vector<NamedApp>& apps) {
  const bool wanted = apps.size() == 1 && runner::Process::MakesNetworkEarly(apps.front().run.network) &&
                      geteuid() == 0 && options.userns.empty() && !options.machine && !options.detach;
  return wanted ? std::make_unique<runner::EarlyNetwork>(runner::EarlyNetwork::For::kNow) : nullptr;
}

int RunInNamespaces(const PodOptions& options, runner::Pod& pod, std::vector<runner::Rootfs> roots,
                    runner::EarlyNetwork* network) {
  const auto& apps = pod.plan().apps;
  const bool attended = apps.front().config.health && !apps.front().config.terminal;
  if (apps.size() > 1 || attended || !RelayTo(options).empty()) {
    runner::SuperviseOptions how = HowToSupervise(options);
    how.network = network;
    return runner::Supervise(pod, std::move(roots), how).code;
  }
  return Await(options, pod,
               runner::Process::Start(apps.front().config, std::move(roots.front()), pod, {}, nullptr, network));
}

// What cannot be removed now is for gc: the app has ended, and its code is what was asked for.
void Remove(runner::Pod& pod) {
  try {
    pod.Remove();
  } catch (const Error& error) {
    PrintError(error);
  }
}

int RunInForeground(const PodOptions& options, runner::Pod pod, const std::function<int(runner::Pod&)>& run) {
  WriteUuid(options, pod.uuid());
  const int code = run(pod);
  if (options.json)
    std::fprintf(stderr, "%s\n", json::Print(json::Object{{"uuid", pod.uuid()}, {"code", code}}).c_str());
  Remove(pod);
  return code;
}

void LetGoOfTerminal() {
  const UniqueFd null = OpenFile("/dev/null", O_RDWR);
  for (int fd = 0; fd <= 2; ++fd) dup2(null.get(), fd);
  if (chdir("/") < 0)
    ThrowErrno("change to /");
}

// How the apps of a pod are run, detached or not.
using RunPod = std::function<int(runner::Pod&, const runner::SuperviseOptions&)>;

// In the process that attends to a detached pod. `make` gives it.
int Attend(const PodOptions& options, int report, const std::function<runner::Pod()>& make, const RunPod& run) {
  runner::Pod pod = make();
  runner::SuperviseOptions how = HowToSupervise(options);
  std::optional<Error> not_executed;
  how.failed = [&](const Error& error) { not_executed = error; };
  bool started = false;
  how.started = [&] {
    started = true;
    WriteUuid(options, pod.uuid());
    NotifyReady(options);  // before the process that systemd has started may end
    const bool found = not_executed && not_executed->kind() != ErrorKind::kNotFound;
    if (not_executed)
      SendMessage(report, {kNotExecuted, {found ? "126" : "127", not_executed->message(), not_executed->hint()}});
    else
      SendMessage(report, {kStarted, {pod.uuid()}});
    close(report);
    LetGoOfTerminal();
  };
  try {
    const int code = run(pod, how);
    Remove(pod);
    return code;
  } catch (...) {
    if (!started)
      pod.Forget();
    throw;
  }
}

// Forks the process that attends to the pod, and returns when its apps are executed.
int Detach(const PodOptions& options, const std::function<runner::Pod()>& make, const RunPod& run) {
  Pipe report = MakePipe();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0)
    ThrowErrno("fork");
  if (child == 0) {
    report.read.Reset();
    setsid();
    prctl(PR_SET_NAME, "gantry-monitor");
    int code = 125;
    ReportErrors(report.write.get(), [&] { code = Attend(options, report.write.get(), make, run); });
    _exit(code);
  }
  report.write.Reset();
  const auto message = ReceiveMessage(report.read.get(), kReportBounds);
  if (!message)
    throw Error(ErrorKind::kFailed, "the process that attends to the pod ended early",
                "was it killed? see the kernel's log for 'Out of memory'");
  if (message->kind == kNotExecuted && message->fields.size() == 3) {
    PrintError(Error(ErrorKind::kFailed, message->fields[1], message->fields[2]));
    return message->fields[0] == "127" ? 127 : 126;
  }
  if (message->kind != kStarted || message->fields.size() != 1)
    throw Error(ErrorKind::kFailed, "the process that attends to the pod said what it should not");
  PrintUuid(options, message->fields[0]);
  return 0;
}

int Execute(const PodOptions& options, Gathering& gathering, const std::optional<runner::IdMap>& map,
            const std::function<runner::Pod()>& make, runner::EarlyNetwork* network = nullptr) {
  if (options.detach)
    return Detach(options, make, [&](runner::Pod& pod, const runner::SuperviseOptions& how) {
      return runner::Supervise(pod, gathering.Render(options, map), how).code;
    });
  runner::Pod pod = make();
  std::vector<runner::Rootfs> roots = gathering.RenderChecked(options, map);
  const auto run = [&](runner::Pod& made) { return RunInNamespaces(options, made, std::move(roots), network); };
  sigset_t mask{};
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  const auto settle = [&] {
    // Who attended to several apps has left blocked what was for them. Now it is for us: whoever does not wait for the
    // disk ends us, and gantry-fetch with us.
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    gathering.Settle();
  };
  try {
    const int code = RunInForeground(options, std::move(pod), run);
    settle();
    return code;
  } catch (...) {
    settle();
    throw;
  }
}

std::vector<runner::vm::RootImage> OpenRoots(const PodOptions& options, const runner::vm::MachineParts& parts,
                                             Gathering& gathering, const std::optional<runner::IdMap>& map) {
  const std::vector<runner::Rootfs> rendered = gathering.Render(options, map);
  std::vector<runner::vm::RootImage> out;
  for (size_t i = 0; i < rendered.size(); ++i)
    out.push_back(
        runner::vm::OpenRootImage(parts.root_maker, gathering.images[i].image, *gathering.store, map, rendered[i]));
  return out;
}

int ExecuteInMachine(const PodOptions& options, const runner::vm::MachineParts& parts, Gathering& gathering,
                     const std::function<runner::Pod()>& make, const std::optional<runner::IdMap>& map) {
  const Dir cache = Dir::Create(RealPath(StoreRoot(options.common)) + "/vm", 0711);
  const RunPod run = [&](runner::Pod& pod, const runner::SuperviseOptions& given) {
    runner::SuperviseOptions how = given;
    how.note = [&](const std::string& text) { Warn(options.common, text); };
    return runner::vm::Supervise(parts, OpenRoots(options, parts, gathering, map), pod, cache, how).code;
  };
  if (options.detach)
    return Detach(options, make, run);
  return RunInForeground(options, make(), [&](runner::Pod& pod) { return run(pod, HowToSupervise(options)); });
}

// What this host or a machine cannot do is said before anything is rendered.
void RequireMachineFor(const runner::PodPlan& plan, const runner::vm::MachineParts& parts) {
  std::vector<runner::RunConfig> configs;
  for (const runner::AppPlan& app : plan.apps) configs.push_back(app.config);
  runner::vm::RequireMachineCan(configs);
  runner::vm::RequireParts(configs, parts);
}

// Of one of `apps` of a pod in the foreground.
void RequireOwnTerminal(size_t apps, bool terminal, bool interactive) {
  if (apps > 1 && (terminal || interactive))
    throw Error(ErrorKind::kUsage, "one terminal cannot be that of several apps",
                "leave -i and -t out, or detach and attach to one app");
  RequireTerminal(terminal, interactive);
}

}  // namespace

std::optional<Dir> TryOpenPods(const CommonOptions& common) {
  const std::string path = StoreRoot(common) + "/pods";
  if (access(path.c_str(), F_OK) < 0 && errno == ENOENT)
    return std::nullopt;
  return Dir::Open(path);
}

Dir OpenPods(const CommonOptions& common) {
  if (auto pods = TryOpenPods(common))
    return *std::move(pods);
  throw Error(ErrorKind::kNotFound, "there are no pods in the store " + Quoted(StoreRoot(common)),
              "--root or GANTRY_ROOT says which store");
}

void RequireTerminal(bool terminal, bool interactive) {
  if (terminal && interactive && isatty(STDIN_FILENO) == 0)
    throw Error(ErrorKind::kUsage, "standard input is not a terminal, and -i and -t are both given",
                "leave -t out to pipe input in, or -i out when there is none");
}

int RunApps(const PodOptions& options, const std::vector<NamedApp>& apps) {
  for (const NamedApp& app : apps) {
    if (!options.detach)
      RequireOwnTerminal(apps.size(), app.run.terminal, app.run.interactive);
  }
  const unsigned sockets = TakeSockets();
  std::optional<runner::vm::MachineParts> parts;
  if (options.machine)
    parts = RequireMachine(options);
  std::unique_ptr<runner::EarlyNetwork> network;
  const bool kept = options.detach && !options.remove;
  Gathering gathering = Gather(options, apps, options.metadata || kept, [&] { network = BeginNetwork(options, apps); });
  const auto map = TakeIds(options, gathering.plan);
  RequireCapabilities(options, gathering.plan, apps);
  gathering.plan.metadata = options.metadata;
  gathering.plan.log = options.log_driver;
  gathering.plan.machine = options.machine.has_value();
  gathering.plan.kept = kept;
  gathering.plan.command = options.command;
  gathering.plan.directory = RealPath(".");
  TakeServices(options, sockets, gathering.plan);
  const Dir pods = OpenPods(options.common);
  runner::SweepPods(pods, map);
  if (options.detach)
    gathering.deciders.clear();  // children of this process, not of the one that attends to the pod
  const auto make = [&] { return gathering.Described(runner::Pod::Create(pods, gathering.plan, map)); };
  if (options.machine) {
    RequireMachineFor(gathering.plan, *parts);
    return ExecuteInMachine(options, *parts, gathering, make, map);
  }
  return Execute(options, gathering, map, make, network.get());
}

int PrepareApps(const PodOptions& options, const std::vector<NamedApp>& apps) {
  std::optional<runner::vm::MachineParts> parts;
  if (options.machine)
    parts = RequireMachine(options);
  Gathering gathering = Gather(options, apps, true, [] {});
  const auto map = TakeIds(options, gathering.plan);
  RequireCapabilities(options, gathering.plan, apps);
  gathering.plan.metadata = options.metadata;
  gathering.plan.log = options.log_driver;
  gathering.plan.machine = options.machine.has_value();
  if (parts)
    RequireMachineFor(gathering.plan, *parts);
  const Dir pods = OpenPods(options.common);
  runner::Pod pod = runner::Pod::Prepare(pods, gathering.plan, map);
  try {
    if (parts)
      OpenRoots(options, *parts, gathering, map);
    else
      gathering.Render(options, map);
    WriteUuid(options, pod.uuid());
  } catch (...) {
    pod.Forget();
    throw;
  }
  pod.Append({runner::PodEvent::Kind::kPrepared});
  PrintUuid(options, pod.uuid());
  return 0;
}

int RunPrepared(PodOptions options, const std::string& pod) {
  RefuseServices(options);
  const auto map = MapOfUser(options.common);
  const Dir pods = OpenPods(options.common);
  const runner::PodRecord record = runner::FindPod(pods, pod);
  for (const runner::AppPlan& app : record.plan().apps) {
    if (!options.detach)
      RequireOwnTerminal(record.plan().apps.size(), app.config.terminal, app.config.interactive);
  }
  if (options.machine && !record.plan().machine)
    throw Error(ErrorKind::kUsage, "pod " + record.uuid() + " was prepared for namespaces",
                "give --isolation=vm to gantry run prepare, too");
  std::optional<runner::vm::MachineParts> parts;
  if (record.plan().machine) {
    options.machine = options.machine.value_or(runner::vm::MachineOptions{});
    parts = RequireMachine(options);
    RequireMachineFor(record.plan(), *parts);
  }
  const Judge judge{LoadPolicy(options.policy, options.common)};
  Gathering gathering;
  gathering.store = image::Store::Open(StoreRoot(options.common));
  gathering.plan = record.plan();
  for (const runner::AppPlan& app : record.plan().apps) {
    LocalName name{AsFile(image::Reference::Parse(app.image), options.platform, StoreRoot(options.common)), app.digest};
    auto decided = Verify(options, name, judge, *gathering.store, false);
    if (!decided)
      throw Error(ErrorKind::kNotFound, "the image " + Quoted(app.image) + " of the pod is not in the store any more",
                  "fetch it again, or prepare another pod");
    gathering.images.push_back({name.reference, std::move(decided->image)});
  }
  const auto make = [&] { return gathering.Described(runner::Pod::Take(pods, record.uuid(), map)); };
  if (parts)
    return ExecuteInMachine(options, *parts, gathering, make, map);
  return Execute(options, gathering, map, make);
}

int PrintConfinements(const PodOptions& options) {
  const std::string root = StoreRoot(options.common);
  const image::Reference in_store(image::StoreReference{});
  std::printf(
      "the process that decides:\n%s\nthe process that renders:\n%s\n"
      "the process that executes:\nall rights that it was started with; it reads nothing that nobody vouched for\n\n"
      "the processes that attend to a pod:\n%s\n"
      "not so, and with all rights that they were started with:\n"
      "the runner of a pod with a health check, which starts processes in the container\n"
      "the keeper of a pod with a network of its own, which is undone by programs (nft, CNI plugins)\n"
      "the keeper of a user with a range of ids, which are reached by newuidmap\n",
      image::Describe(Kept({LoadPolicy(options.policy, options.common)}, in_store, root)).c_str(),
      image::Describe(runner::RendererConfinement(root)).c_str(),
      image::Describe(runner::AttendanceConfinement(root + "/pods", "UUID", {})).c_str());
  return 0;
}

}  // namespace gantry::tools
