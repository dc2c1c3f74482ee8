#include "tools/run_gather.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/convert/appc_to_docker.h"
#include "libimage/convert/docker_to_appc.h"
#include "runner/appc.h"
#include "tools/appc_files.h"
#include "tools/run_metadata.h"
#include "tools/run_options.h"

namespace gantry::tools {
namespace {

// The store has one image for a name: perhaps the one that an earlier --platform asked for.
void WarnOfOtherPlatform(const image::Platform& is, const CommonOptions& common) {
  const auto host = image::Platform::Host();
  if (is.architecture != host.architecture)
    Warn(common, "the image is for " + is.ToString() + ", this machine is " + host.ToString() + "; for its own give " +
                     "--platform " + host.os + "/" + host.architecture);
}

}  // namespace

image::Confinement Kept(const Judge& judge, const image::Reference& image, const std::string& root) {
  image::Confinement keep = DecisionConfinement(judge.policy, judge.registries);
  KeepForImage(image, root, keep);
  return keep;
}

std::optional<image::VerifiedImage> Verify(const PodOptions& options, const LocalName& name, const Judge& judge,
                                           const image::Store& store, const std::function<void()>& meanwhile) {
  auto deciding = sign::Verifier::BeginInChild(
      judge.policy, [&] { Confine(options.common, Kept(judge, name.reference, store.dir().name())); },
      [&]() -> std::optional<sign::Candidate> {
        auto local = OpenUnlessMissing(name, store, options.platform, judge.registries);
        if (!local)
          return std::nullopt;
        return sign::Candidate{std::move(local->image), std::move(local->evidence)};
      });
  meanwhile();
  auto verified = deciding.Wait();
  if (verified && name.pinned && verified->image().descriptor.digest != *name.pinned)
    throw Error(ErrorKind::kFailed, "the process that decides judged another image than the one that was fetched");
  return verified;
}

namespace {

image::VerifiedImage FetchAndVerify(const PodOptions& options, const image::Reference& reference, const Judge& judge,
                                    const image::Store& store, const std::function<void()>& meanwhile) {
  if (auto here = Verify(options, {reference}, judge, store, meanwhile))
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

}  // namespace

runner::Pod Gathering::Described(runner::Pod pod) const {
  if (!plan.metadata)
    return pod;
  std::vector<runner::AppMetadata> apps;
  for (size_t i = 0; i < images.size(); ++i)
    apps.push_back(DescribeApp(plan.apps[i].name, plan.apps[i].image, images[i].image.image()));
  pod.Describe(DescribePod(std::move(apps), store->dir()));
  return pod;
}

std::vector<runner::Rootfs> Gathering::Render(const PodOptions& options,
                                              const std::optional<runner::IdMap>& map) const {
  std::vector<runner::Rootfs> out;
  for (const Gathered& one : images)
    out.push_back(runner::Render(one.image, *store, map, HowToRender(options, one.reference, identities, store)));
  return out;
}

Gathering Gather(const PodOptions& options, const std::vector<NamedApp>& apps, const std::function<void()>& meanwhile) {
  if (apps.size() > runner::kMaxApps)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(runner::kMaxApps) + " images in one pod");
  const Judge judge{LoadPolicy(options.policy, options.common)};
  Gathering out;
  out.store = image::Store::Open(StoreRoot(options.common));
  out.identities = judge.policy.WantsIdentities();
  // Before anything is fetched: who made a mistake in a profile is told at once.
  std::vector<runner::RunOptions> runs;
  for (const NamedApp& app : apps) ReadProfile(runs.emplace_back(app.run));
  for (const NamedApp& app : apps) {
    const auto named = image::Reference::Parse(app.image);
    const auto reference = named.appc() == nullptr
                               ? named
                               : BringHere(app.image, options.platform, options.policy, options.common).reference;
    RefusePipe(reference);
    runner::RunOptions& run = runs[out.images.size()];
    image::VerifiedImage image = FetchAndVerify(options, reference, judge, *out.store, [&] {
      if (out.images.empty())
        meanwhile();
    });
    NoteAccepted(image.accepted(), StoreRoot(options.common));
    const image::Image& of = image.image();
    WarnOfOtherPlatform(of.config.platform, options.common);
    Note(options.common, "image " + of.descriptor.digest.str() + ", " + image.vouched_by());
    const std::string name = run.name.empty() ? UniqueName(out.plan.apps, AppName(named, app.image)) : run.name;
    CheckName(name);
    if (std::ranges::find(out.plan.apps, name, &runner::AppPlan::name) != out.plan.apps.end())
      throw Error(ErrorKind::kUsage, "two apps are called " + Quoted(name), "give another with --name");
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

}  // namespace gantry::tools
