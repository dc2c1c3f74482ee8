// gantry-run: fetch what is missing, verify, render, execute.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/store/store.h"
#include "libimage/transport/oci_layout.h"
#include "libsign/verify.h"
#include "runner/config.h"
#include "runner/pod.h"
#include "runner/process.h"
#include "runner/rootfs.h"
#include "tools/local_image.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

constexpr int kOwnFailure = 125;

struct Options {
  CommonOptions common;
  PolicyOptions policy;
  runner::RunOptions run;
  std::string image;
  std::string platform;
  std::string user, working_dir, entrypoint, network;
  bool collect = false;
  bool remove = true;  // --rm changes nothing
};

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
std::optional<image::VerifiedImage> Verify(const Options& options, const LocalName& name, const Judge& judge,
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

image::VerifiedImage FetchAndVerify(const Options& options, const image::Reference& reference, const Judge& judge,
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

runner::Rendering HowToRender(const Options& options, const image::Reference& image, const sign::Policy& policy,
                              const std::shared_ptr<const image::Store>& store) {
  const std::string root = StoreRoot(options.common);
  runner::Rendering how{.keep = runner::RendererConfinement(root),
                        .progress = [&options] { return MakeProgress(options.common); },
                        .identity = policy.WantsIdentities()};
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

int Execute(const Options& options, const std::optional<runner::IdMap>& map) {
  const std::string root = StoreRoot(options.common);
  const Judge judge{LoadPolicy(options.policy, options.common)};
  const auto reference = image::Reference::Parse(options.image);
  RefusePipe(reference);
  const std::shared_ptr<image::Store> store = image::Store::Open(root);
  const image::VerifiedImage image = FetchAndVerify(options, reference, judge, *store);
  NoteAccepted(image, root);
  const runner::RunConfig config = runner::Plan(image.image().config, options.run);
  WarnOfOtherPlatform(image.image().config.platform, options.common);
  Note(options.common, "image " + image.image().descriptor.digest.str() + ", " + image.vouched_by());

  const Dir pods = Dir::Open(root + "/pods");
  runner::SweepPods(pods, map);
  runner::Pod pod = runner::Pod::Create(pods, image.image(), map);
  runner::Rootfs rootfs = runner::Render(image, *store, map, HowToRender(options, reference, judge.policy, store));
  runner::Process process = runner::Process::Start(config, std::move(rootfs), pod);
  if (!pod.cgroup().note().empty())
    Note(options.common, pod.cgroup().note());
  if (process.failure())
    PrintError(*process.failure());
  const ExitStatus status = process.Wait();
  pod.Remove();
  return status.code;
}

int Collect(const Options& options, const std::optional<runner::IdMap>& map) {
  const size_t swept = runner::SweepPods(Dir::Open(StoreRoot(options.common) + "/pods"), map);
  std::printf("%zu dead pods removed\n", swept);
  return 0;
}

int PrintConfinements(const Options& options) {
  const std::string root = StoreRoot(options.common);
  const image::Reference in_store(image::StoreReference{});
  std::printf(
      "the process that decides:\n%s\nthe process that renders:\n%s\n"
      "the process that executes:\nall rights that it was started with; it reads nothing that nobody vouched for\n",
      image::Describe(Kept({LoadPolicy(options.policy, options.common)}, in_store, root)).c_str(),
      image::Describe(runner::RendererConfinement(root)).c_str());
  return 0;
}

int Run(const Options& options) {
  if (options.common.print_confinement)
    return PrintConfinements(options);
  std::optional<runner::IdMap> map;
  if (geteuid() != 0)
    map = runner::PlanIdMap();
  if (map && !map->note.empty())
    Note(options.common, map->note);
  return options.collect ? Collect(options, map) : Execute(options, map);
}

// "NAME" alone is ours, as far as we have it.
void TakeEnvironment(runner::RunOptions& run) {
  for (std::string& entry : run.env) {
    const char* value = entry.find('=') == std::string::npos ? std::getenv(entry.c_str()) : nullptr;
    if (value != nullptr)
      entry += std::string("=") + value;
  }
  if (const char* terminal = std::getenv("TERM"); terminal != nullptr && *terminal != '\0')
    run.terminal_type = terminal;
}

void AddOptions(CLI::App& app, Options& options) {
  AddCommonOptions(app, options.common);
  // -v is the volume, as users of other runners expect.
  app.remove_option(app.get_option("--verbose"));
  app.add_flag("--verbose", options.common.verbose, "say what is done and why");
  AddPolicyOptions(app, options.policy);
  app.add_option("--platform", options.platform, "OS/ARCH[/VARIANT] to choose from an index; default: this machine's");
  app.add_option("-v,--volume", options.run.volumes, "show a host file or directory in the container")
      ->type_name("SRC:DST[:ro]")
      ->allow_extra_args(false);
  app.add_option("-e,--env", options.run.env, "set a variable; NAME alone takes it over from here")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  app.add_option("-u,--user", options.user, "USER[:GROUP], names of the image or numbers");
  app.add_option("-w,--workdir", options.working_dir, "the directory to start in");
  app.add_option("--entrypoint", options.entrypoint, "the program to execute instead of the image's; '' for none");
  app.add_option("--net", options.network, "none: only loopback (the default); host: the host's network")
      ->check(CLI::IsMember({"none", "host"}))
      ->type_name("none|host")
      ->option_text("none|host");
  app.add_flag("-i,--interactive", options.run.interactive, "give it our standard input; else it is empty");
  app.add_flag("-t,--tty", options.run.terminal, "give it a terminal of its own");
  app.add_option("--hostname", options.run.hostname, "its host name; default: from the pod's UUID");
  app.add_flag("--read-only", options.run.read_only_rootfs, "nothing in its root file system can be changed");
  app.add_flag("--rm", options.remove, "accepted and always so: nothing is kept after the run");
}

// What follows the options: gc, or IMAGE [--] [ARGS...].
void TakeOperands(const CLI::App& app, Options& options) {
  std::vector<std::string> rest = app.remaining();
  if (!rest.empty() && rest.front() == "--")
    rest.erase(rest.begin());
  if (rest.empty())
    throw Error(ErrorKind::kUsage, "no image is named", "gantry-run [OPTIONS] IMAGE [ARGS...]");
  if (rest.front().starts_with('-') && rest.front().size() > 1)
    throw Error(ErrorKind::kUsage, "option " + Quoted(rest.front()) + " is unknown", "see 'gantry-run --help'");
  options.image = rest.front();
  rest.erase(rest.begin());
  if (!rest.empty() && rest.front() == "--")
    rest.erase(rest.begin());
  options.run.args = std::move(rest);
  const auto given = [&](const char* name) { return app.count(name) > 0; };
  if (given("--user"))
    options.run.user = options.user;
  if (given("--workdir"))
    options.run.working_dir = options.working_dir;
  if (given("--entrypoint"))
    options.run.entrypoint = options.entrypoint;
  options.run.network = options.network == "host" ? runner::Network::kHost : runner::Network::kNone;
  TakeEnvironment(options.run);
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Run an image in namespaces: fetch what is missing, verify, render, execute.", "gantry-run");
  Options options;
  AddOptions(app, options);
  app.footer("gantry-run [OPTIONS] IMAGE [--] [ARGS...]\nEverything after IMAGE is for the application.");
  app.prefix_command();
  CLI::App* gc = app.add_subcommand("gc", "remove what runs left behind that did not end in order, and exit");
  return ToolMain(
      app, argc, argv,
      [&] {
        options.collect = gc->parsed();
        if (!options.collect && !options.common.print_confinement)
          TakeOperands(app, options);
        return Run(options);
      },
      kOwnFailure);
}
