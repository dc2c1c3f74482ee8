#include "tools/run_pod.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/convert/appc_to_docker.h"
#include "libimage/convert/docker_to_appc.h"
#include "libimage/store/store.h"
#include "libsign/verify.h"
#include "runner/appc.h"
#include "runner/process.h"
#include "runner/rootfs.h"
#include "runner/supervisor.h"
#include "runner/vm/root_image.h"
#include "runner/vm/virtual_machine.h"
#include "tools/appc_files.h"
#include "tools/local_image.h"
#include "tools/run_ids.h"
#include "tools/run_machine.h"
#include "tools/run_metadata.h"
#include "tools/run_services.h"

namespace gantry::tools {
namespace {

constexpr MessageBounds kReportBounds{3, 64 * 1024, "the process that attends to the pod"};
constexpr char kStarted = 's';
constexpr char kNotExecuted = 'n';  // code, message, hint

// The store has one image for a name: perhaps the one that an earlier --platform asked for.
void WarnOfOtherPlatform(const image::Platform& is, const CommonOptions& common) {
  const auto host = image::Platform::Host();
  if (is.architecture != host.architecture)
    Warn(common, "the image is for " + is.ToString() + ", this machine is " + host.ToString() + "; for its own give " +
                     "--platform " + host.os + "/" + host.architecture);
}

// What decides about images.
struct Judge {
  sign::Policy policy;
  sign::RegistriesD registries = sign::RegistriesD::Load();
};

image::Confinement Kept(const Judge& judge, const image::Reference& image, const std::string& root) {
  image::Confinement keep = DecisionConfinement(judge.policy, judge.registries);
  KeepForImage(image, root, keep);
  return keep;
}

// By the process that decides; nullopt for an image that has to be fetched first.
std::optional<image::VerifiedImage> Verify(const PodOptions& options, const LocalName& name, const Judge& judge,
                                           const image::Store& store) {
  auto verified = sign::Verifier::VerifyInChild(
      judge.policy, [&] { Confine(options.common, Kept(judge, name.reference, store.dir().name())); },
      [&]() -> std::optional<sign::Candidate> {
        auto local = OpenUnlessMissing(name, store, options.platform, judge.registries);
        if (!local)
          return std::nullopt;
        return sign::Candidate{std::move(local->image), std::move(local->evidence)};
      });
  if (verified && name.pinned && verified->image().descriptor.digest != *name.pinned)
    throw Error(ErrorKind::kFailed, "the process that decides judged another image than the one that was fetched");
  return verified;
}

image::VerifiedImage FetchAndVerify(const PodOptions& options, const image::Reference& reference, const Judge& judge,
                                    const image::Store& store) {
  if (auto here = Verify(options, {reference}, judge, store))
    return *std::move(here);
  return Verify(options, Fetch(reference, ForPlatform(options.platform), options.policy, options.common), judge, store)
      .value();
}

// A file is read by the process that decides and by the one that renders.
void RefusePipe(const image::Reference& image) {
  struct stat status {};
  if (image.file() != nullptr && stat(image.file()->path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode)) {
    throw Error(ErrorKind::kUnsupported, "cannot run an image that comes through a pipe",
                "write it to a file, or into the store with gantry convert");
  }
}

runner::Rendering HowToRender(const PodOptions& options, const image::Reference& image, bool identity,
                              const std::shared_ptr<const image::Store>& store) {
  const std::string root = StoreRoot(options.common);
  runner::Rendering how{.keep = runner::RendererConfinement(root),
                        .progress = [&options] { return MakeProgress(options.common); },
                        .identity = identity};
  KeepForImage(image, root, how.keep);
  how.open = [&options, image, store]() -> std::shared_ptr<const image::Blobs> {
    if (image.file() == nullptr)
      return store;
    LocalImage local = OpenFileImage(*image.file(), options.platform);
    for (const std::string& note : local.notes) Warn(options.common, note);
    return std::move(local.blobs);
  };
  return how;
}

// What the last part of an image's name is, as an app may be called.
std::string AppName(const image::Reference& reference, const std::string& text) {
  std::string name = text.substr(0, text.find(reference.appc() != nullptr ? ',' : '@'));
  if (reference.file() != nullptr) {
    name = reference.file()->path;
    while (name.ends_with('/')) name.pop_back();
  } else if (const size_t colon = name.rfind(':'); colon != std::string::npos && colon > name.rfind('/') + 1) {
    name.resize(colon);
  }
  name = LowerAscii(name.substr(name.rfind('/') + 1));
  std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0 && c != '-' && c != '_' && c != '.'; });
  while (!name.empty() && std::isalnum(static_cast<unsigned char>(name.front())) == 0) name.erase(0, 1);
  return name.empty() ? "app" : name.substr(0, 63);
}

void CheckName(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
  if (name.empty() || name.size() > 63 || !std::ranges::all_of(name, allowed) || name.front() == '.')
    throw Error(ErrorKind::kUsage, "an app cannot be called " + Quoted(name),
                "letters, digits, '-', '_' and '.', at most 63, not '.' at the beginning");
}

// One image of a pod on its way.
struct Gathered {
  image::Reference reference;
  image::VerifiedImage image;
};

// The pod in the making.
struct Gathering {
  std::shared_ptr<image::Store> store;
  bool identities = false;  // the policy may ask for them
  std::vector<Gathered> images;
  runner::PodPlan plan;

  // With what it is told about itself, if so planned.
  runner::Pod Described(runner::Pod pod) const {
    if (!plan.metadata)
      return pod;
    std::vector<runner::AppMetadata> apps;
    for (size_t i = 0; i < images.size(); ++i)
      apps.push_back(DescribeApp(plan.apps[i].name, plan.apps[i].image, images[i].image.image()));
    pod.Describe(DescribePod(std::move(apps), store->dir()));
    return pod;
  }

  std::vector<runner::Rootfs> Render(const PodOptions& options, const std::optional<runner::IdMap>& map) const {
    std::vector<runner::Rootfs> out;
    for (const Gathered& one : images)
      out.push_back(runner::Render(one.image, *store, map, HowToRender(options, one.reference, identities, store)));
    return out;
  }
};

// What an image that was made of an ACI has from that beside what every image says.
std::optional<image::AciApp> AppcAppOf(const image::Image& image) {
  const auto found = image.manifest.annotations.find(std::string(image::kAciAnnotation));
  if (found == image.manifest.annotations.end())
    return std::nullopt;
  const image::AciManifest manifest = image::AciManifest::Parse(found->second);
  image::RequireSameExecution(manifest, image.config_bytes, image::kAciAnnotation);
  return manifest.app;
}

void Tell(const PodOptions& options, const std::string& app, const std::vector<std::string>& ignored) {
  if (ignored.empty())
    return;
  std::string list;
  for (const std::string& one : ignored) list += (list.empty() ? "" : "; ") + one;
  if (options.strict)
    throw Error(ErrorKind::kUnsupported, "app " + Quoted(app) + " wants what it cannot get: " + list,
                "without --strict it runs all the same");
  Warn(options.common, "app " + app + " does not get: " + list);
}

// A volume that no app has a place for is a mistake.
void TellUnused(const PodOptions& options, const std::vector<NamedApp>& apps, const runner::PodPlan& plan) {
  for (const runner::NamedVolume& volume : apps.front().run.named_volumes) {
    const auto used = [&](const runner::AppPlan& app) {
      return std::ranges::any_of(app.config.volumes, [&](const runner::Volume& other) {
        return other.kind == volume.volume.kind && other.source == volume.volume.source;
      });
    };
    if (std::ranges::none_of(plan.apps, used))
      Tell(options, plan.apps.front().name,
           {"volume " + Quoted(volume.name) + ", for which nothing has a mount point"});
  }
}

std::string UniqueName(const std::vector<runner::AppPlan>& apps, const std::string& name) {
  std::string out = name;
  for (int i = 2; std::ranges::find(apps, out, &runner::AppPlan::name) != apps.end(); ++i)
    out = name + "-" + std::to_string(i);
  return out;
}

Gathering Gather(const PodOptions& options, const std::vector<NamedApp>& apps) {
  if (apps.size() > runner::kMaxApps)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(runner::kMaxApps) + " images in one pod");
  const Judge judge{LoadPolicy(options.policy, options.common)};
  Gathering out;
  out.store = image::Store::Open(StoreRoot(options.common));
  out.identities = judge.policy.WantsIdentities();
  for (const NamedApp& app : apps) {
    const auto named = image::Reference::Parse(app.image);
    const auto reference = named.appc() == nullptr
                               ? named
                               : BringHere(app.image, options.platform, options.policy, options.common).reference;
    RefusePipe(reference);
    image::VerifiedImage image = FetchAndVerify(options, reference, judge, *out.store);
    NoteAccepted(image, StoreRoot(options.common));
    const image::Image& of = image.image();
    WarnOfOtherPlatform(of.config.platform, options.common);
    Note(options.common, "image " + of.descriptor.digest.str() + ", " + image.vouched_by());
    const std::string name = app.run.name.empty() ? UniqueName(out.plan.apps, AppName(named, app.image)) : app.run.name;
    CheckName(name);
    if (std::ranges::find(out.plan.apps, name, &runner::AppPlan::name) != out.plan.apps.end())
      throw Error(ErrorKind::kUsage, "two apps are called " + Quoted(name), "give another with --name");
    runner::RunOptions run = app.run;
    std::vector<std::string> ignored = app.ignored;
    if (auto appc = AppcAppOf(of)) {
      // They are programs to execute, and no part of an identity: whoever has an attested image could add some.
      if (out.identities && !appc->event_handlers.empty()) {
        ignored.emplace_back("event handlers, as the policy has identitySigned and no identity covers them");
        appc->event_handlers.clear();
      }
      run.env.insert(run.env.begin(), "AC_APP_NAME=" + name);
      runner::AddAppc(*appc, run, ignored);
    }
    Tell(options, name, ignored);
    out.plan.apps.push_back({name, app.image, of.descriptor.digest, of.config.diff_ids, runner::Plan(of.config, run)});
    out.images.push_back({reference, std::move(image)});
  }
  TellUnused(options, apps, out.plan);
  return out;
}

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

int RunInNamespaces(const PodOptions& options, runner::Pod& pod, std::vector<runner::Rootfs> roots) {
  const auto& apps = pod.plan().apps;
  if (apps.size() > 1 || (apps.front().config.health && !apps.front().config.terminal))
    return runner::Supervise(pod, std::move(roots), HowToSupervise(options)).code;
  return Await(options, pod, runner::Process::Start(apps.front().config, std::move(roots.front()), pod));
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
    const bool found = not_executed && not_executed->kind() != ErrorKind::kNotFound;
    if (not_executed)
      SendMessage(report, {kNotExecuted, {found ? "126" : "127", not_executed->message(), not_executed->hint()}});
    else
      SendMessage(report, {kStarted, {pod.uuid()}});
    close(report);
    NotifyReady(options);
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

int Execute(const PodOptions& options, const std::function<runner::Pod()>& make,
            const std::function<std::vector<runner::Rootfs>()>& render) {
  if (options.detach)
    return Detach(options, make, [&](runner::Pod& pod, const runner::SuperviseOptions& how) {
      return runner::Supervise(pod, render(), how).code;
    });
  runner::Pod pod = make();
  std::vector<runner::Rootfs> roots = render();
  return RunInForeground(options, std::move(pod),
                         [&](runner::Pod& made) { return RunInNamespaces(options, made, std::move(roots)); });
}

std::vector<runner::vm::RootImage> OpenRoots(const PodOptions& options, const runner::vm::MachineParts& parts,
                                             const Gathering& gathering, const std::optional<runner::IdMap>& map) {
  const std::vector<runner::Rootfs> rendered = gathering.Render(options, map);
  std::vector<runner::vm::RootImage> out;
  for (size_t i = 0; i < rendered.size(); ++i)
    out.push_back(
        runner::vm::OpenRootImage(parts.root_maker, gathering.images[i].image, *gathering.store, map, rendered[i]));
  return out;
}

int ExecuteInMachine(const PodOptions& options, const runner::vm::MachineParts& parts, const Gathering& gathering,
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

void RefuseSharedTerminal(const runner::PodPlan& plan) {
  for (const runner::AppPlan& app : plan.apps) {
    if (plan.apps.size() > 1 && (app.config.terminal || app.config.interactive))
      throw Error(ErrorKind::kUsage, "one terminal cannot be that of several apps",
                  "leave -i and -t out, or detach and attach to one app");
  }
}

}  // namespace

Dir OpenPods(const CommonOptions& common) { return Dir::Open(StoreRoot(common) + "/pods"); }

int RunApps(const PodOptions& options, const std::vector<NamedApp>& apps) {
  std::optional<runner::vm::MachineParts> parts;
  if (options.machine)
    parts = RequireMachine(options);
  Gathering gathering = Gather(options, apps);
  const auto map = TakeIds(options, gathering.plan);
  gathering.plan.metadata = options.metadata;
  gathering.plan.log = options.log_driver;
  gathering.plan.machine = options.machine.has_value();
  if (!options.detach)
    RefuseSharedTerminal(gathering.plan);
  gathering.plan.kept = options.detach && !options.remove;
  gathering.plan.command = options.command;
  gathering.plan.directory = RealPath(".");
  TakeServices(options, gathering.plan);
  const Dir pods = OpenPods(options.common);
  runner::SweepPods(pods, map);
  const auto make = [&] { return gathering.Described(runner::Pod::Create(pods, gathering.plan, map)); };
  if (options.machine) {
    RequireMachineFor(gathering.plan, *parts);
    return ExecuteInMachine(options, *parts, gathering, make, map);
  }
  return Execute(options, make, [&] { return gathering.Render(options, map); });
}

int PrepareApps(const PodOptions& options, const std::vector<NamedApp>& apps) {
  std::optional<runner::vm::MachineParts> parts;
  if (options.machine)
    parts = RequireMachine(options);
  Gathering gathering = Gather(options, apps);
  const auto map = TakeIds(options, gathering.plan);
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
  const auto map = MapOfUser(options.common);
  const Dir pods = OpenPods(options.common);
  const runner::PodRecord record = runner::FindPod(pods, pod);
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
    auto image = Verify(options, name, judge, *gathering.store);
    if (!image)
      throw Error(ErrorKind::kNotFound, "the image " + Quoted(app.image) + " of the pod is not in the store any more",
                  "fetch it again, or prepare another pod");
    gathering.images.push_back({name.reference, *std::move(image)});
  }
  if (!options.detach)
    RefuseSharedTerminal(gathering.plan);
  const auto make = [&] { return gathering.Described(runner::Pod::Take(pods, record.uuid(), map)); };
  if (parts)
    return ExecuteInMachine(options, *parts, gathering, make, map);
  return Execute(options, make, [&] { return gathering.Render(options, map); });
}

int PrintConfinements(const PodOptions& options) {
  const std::string root = StoreRoot(options.common);
  const image::Reference in_store(image::StoreReference{});
  std::printf(
      "the process that decides:\n%s\nthe process that renders:\n%s\n"
      "the process that executes:\nall rights that it was started with; it reads nothing that nobody vouched for\n\n"
      "the processes that attend to a pod:\n%s",
      image::Describe(Kept({LoadPolicy(options.policy, options.common)}, in_store, root)).c_str(),
      image::Describe(runner::RendererConfinement(root)).c_str(),
      image::Describe(runner::AttendanceConfinement(root + "/pods", "UUID", {})).c_str());
  return 0;
}

}  // namespace gantry::tools
