#include "tools/build_engine.h"

#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "runner/chroot.h"
#include "runner/pod.h"
#include "runner/process.h"
#include "tools/build_session.h"

namespace gantry::tools {
namespace {

int RunInNamespaces(const runner::RunConfig& config, const runner::Rootfs& rootfs, runner::Pod& pod) {
  runner::Process process = runner::Process::Start(config, rootfs, pod);
  if (process.failure())
    PrintError(*process.failure());
  return process.Wait().code;
}

}  // namespace

void AddEngineOptions(CLI::App& app, EngineOptions& options) {
  app.add_option("--engine", options.engine, "what runs it: ns, chroot or vm")->type_name("ENGINE");
  app.add_option("--kernel", options.kernel, "of vm: the machine's kernel; the newest in /boot by default")
      ->type_name("FILE");
  app.add_option("--accel", options.accelerator, "of vm: kvm, tcg (emulation), or auto")
      ->check(CLI::IsMember({"kvm", "tcg", "auto"}))
      ->type_name("NAME");
}

Engine TakeEngine(const EngineOptions& options) {
  Engine engine;
  if (options.engine == "vm")
    engine.kind = Engine::Kind::kMachine;
  else if (options.engine == "chroot")
    engine.kind = Engine::Kind::kChroot;
  else if (options.engine != "ns")
    throw Error(ErrorKind::kUnsupported, "the engine " + Quoted(options.engine) + " does not exist here",
                "ns (namespaces), chroot and vm (a virtual machine) do");
  if (engine.kind != Engine::Kind::kMachine && (!options.kernel.empty() || !options.accelerator.empty()))
    throw Error(ErrorKind::kUsage, "--kernel and --accel are for virtual machines", "add --engine vm");
  engine.machine.kernel = options.kernel;
  engine.machine.accelerator = runner::vm::ParseAccelerator(options.accelerator);
  return engine;
}

int BuildSession::Execute(const Layers& layers, const runner::RunConfig& config, const Engine& engine,
                          const Dir& changes) {
  if (engine.kind == Engine::Kind::kChroot) {
    const Dir root = changes.MakeDirs(RelPath::Parse("root"), 0755);
    return runner::RunInChroot(config, layers.rootfs, root.name(), map_);
  }
  const std::string store = StoreRoot(options_.common);
  const Dir pods = Dir::Open(store + "/pods");
  runner::SweepPods(pods, map_);
  const image::Image& image = layers.image.image();
  runner::PodPlan plan;
  plan.machine = engine.kind == Engine::Kind::kMachine;
  plan.apps.push_back({"app", image.descriptor.digest.str(), image.descriptor.digest, image.config.diff_ids, config});
  runner::Pod pod = runner::Pod::Create(pods, std::move(plan), map_);
  int code = 0;
  if (engine.kind == Engine::Kind::kNamespaces) {
    code = RunInNamespaces(config, layers.rootfs, pod);
  } else {
    runner::vm::MachineOptions machine = engine.machine;
    machine.changes = changes.name();
    const runner::vm::MachineParts parts = runner::vm::FindMachineParts(machine);
    std::vector<runner::vm::RootImage> roots;
    roots.push_back(runner::vm::OpenRootImage(parts.root_maker, layers.image, *store_, map_, layers.rootfs));
    const Dir cache = Dir::Create(RealPath(store) + "/vm", 0711);
    auto made = runner::vm::VirtualMachine::Start(parts, std::move(roots), pod, cache, std::nullopt,
                                                  [&](const std::string& text) { Warn(options_.common, text); });
    for (const Error& failure : made.failures()) PrintError(failure);
    code = made.Wait().code;
  }
  pod.Remove();
  return code;
}

void BuildSession::Run(image::Workspace& workspace, const std::string& created_by, const runner::RunOptions& run,
                       const Dependencies& below, const Engine& engine) {
  Step(workspace, [&] {
    Layers layers = Render(workspace.draft(), workspace.blobs(), workspace.dir(), below);
    const Dir changes = workspace.NewStep("changes");
    const Dir upper = changes.MakeDirs(RelPath::Parse("upper"));
    const Dir work = changes.MakeDirs(RelPath::Parse("work"));
    if (layers.dirs.empty())
      layers.rootfs.layers.push_back(workspace.NewStep("empty").name());
    layers.rootfs.upper = upper.name();
    layers.rootfs.work = work.name();
    InChild([&]() -> std::vector<std::string> {
      const image::Upper root(layers.pointers(), upper, unpack_options());  // makes the root what it is below
      return {};
    });
    const int code = Execute(layers, runner::Plan(layers.image.image().config, run), engine, changes);
    if (code != 0)
      throw Error(ErrorKind::kFailed, Quoted(created_by) + " ended with " + std::to_string(code),
                  "the build is as it was before");
    InChild([&]() -> std::vector<std::string> {
      Confine(options_.common, StepConfinement(workspace.dir()));
      if (engine.kind == Engine::Kind::kMachine && !map_)
        image::TrustUserMarks(upper);
      image::RemoveRunnersFiles(layers.pointers(), upper, unpack_options());
      return {};
    });
    Pack(workspace, layers, upper, created_by, !below.empty());
  });
}

}  // namespace gantry::tools
