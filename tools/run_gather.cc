#include "tools/run_gather.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/convert/appc_to_docker.h"
#include "libimage/convert/docker_to_appc.h"
#include "runner/appc.h"
#include "tools/appc_files.h"
#include "tools/progress.h"
#include "tools/run_metadata.h"
#include "tools/run_options.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxAppName = 63;
constexpr char kImageId = 'i';
constexpr size_t kMaxImageIdBytes = 256;
constexpr size_t kLeastImageIdBytes = std::string_view("sha512-").size() + 64;

// The store has one image for a name: perhaps the one that an earlier --platform asked for.
void WarnOfOtherPlatform(const image::Platform& is, const CommonOptions& common) {
  const auto host = image::Platform::Host();
  if (is.architecture != host.architecture)
    Warn(common, "the image is for " + is.ToString() + ", this machine is " + host.ToString() + "; for its own give " +
                     "--platform " + host.os + "/" + host.architecture);
}

Digest AppcId(const LocalImage& local) {
  return local.image_id ? local.image_id() : Digest::Of(local.image.image().manifest_bytes, HashAlgorithm::kSha512);
}

}  // namespace

image::Confinement Kept(const Judge& judge, const image::Reference& image, const std::string& root) {
  image::Confinement keep = DecisionConfinement(judge.policy, judge.registries);
  KeepForImage(image, root, keep);
  return keep;
}

std::optional<Decided> Verify(const PodOptions& options, const LocalName& name, const Judge& judge,
                              const image::Store& store, bool with_id, const std::function<void()>& meanwhile) {
  Pipe id = with_id ? MakePipe() : Pipe{};
  const image::Confinement keep = Kept(judge, name.reference, store.dir().name());
  auto deciding = sign::Verifier::BeginInChild(
      judge.policy, [&] { Confine(options.common, keep); },
      [&]() -> std::optional<sign::Candidate> {
        auto local = OpenUnlessMissing(name, store, options.platform, judge.registries);
        if (!local)
          return std::nullopt;
        if (with_id)
          SendMessage(id.write.get(), {kImageId, {AppcId(*local).str()}});
        if (!local->evidence.signatures.empty())
          ForgetCode();  // that reads documents: what checks signatures takes as much
        return sign::Candidate{std::move(local->image), std::move(local->evidence)};
      });
  id.write.Reset();
  meanwhile();
  auto verified = deciding.Wait();
  if (verified && name.pinned && verified->image().descriptor.digest != *name.pinned)
    throw Error(ErrorKind::kFailed, "the process that decides judged another image than the one that was fetched");
  if (!verified)
    return std::nullopt;
  Decided out{*std::move(verified), "", std::move(deciding)};
  if (with_id) {
    const auto message = ReceiveMessage(id.read.get(), {1, kMaxImageIdBytes, "the process that decides"});
    if (!message || message->fields.size() != 1)
      throw Error(ErrorKind::kFailed, "the process that decides has not said the image's ID");
    out.image_id = "sha512-" + Digest::Parse(message->fields[0]).hex();
  }
  return out;
}

namespace {

// What was decided, and what still brings the layers.
struct Brought {
  Decided decided;
  std::shared_ptr<Fetching> fetching = nullptr;
};

// Until its layers are here too, if `whole`.
Brought FetchAndVerify(const PodOptions& options, const image::Reference& reference, bool whole, const Judge& judge,
                       const image::Store& store, bool with_id, const std::function<void()>& meanwhile) {
  if (auto here = Verify(options, {reference}, judge, store, with_id, meanwhile))
    return {*std::move(here)};
  const auto fetch = whole ? Fetch : BeginFetch;
  LocalName name = fetch(reference, OfImage(options.platform), options.policy, options.common);
  Decided decided = Verify(options, name, judge, store, with_id).value();
  return {std::move(decided), std::move(name.fetching)};
}

// rkt writes half of it.
void RequireImageId(const NamedApp& app, const std::string& is) {
  if (app.image_id.empty() || (is.starts_with(app.image_id) && app.image_id.size() >= kLeastImageIdBytes))
    return;
  throw Error(ErrorKind::kFailed,
              "image " + Quoted(app.image) + " has the ID " + is + ", the pod manifest wants " + Quoted(app.image_id),
              "it is another image than the pod manifest was made for; take its 'id' out for whichever has the name");
}

// A file is read by the process that decides and by the one that renders.
void RefusePipe(const image::Reference& image) {
  struct stat status {};
  if (image.file() != nullptr && stat(image.file()->path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode)) {
    throw Error(ErrorKind::kUnsupported, "cannot run an image that comes through a pipe",
                "write it to a file, or into the store with gantry convert");
  }
}

runner::Rendering HowToRender(const PodOptions& options, const Gathered& image, bool identity,
                              const std::shared_ptr<const image::Store>& store) {
  const std::string root = StoreRoot(options.common);
  runner::Rendering how{.open = nullptr, .keep = runner::RendererConfinement(root), .identity = identity};
  KeepForImage(image.reference, root, how.keep);
  how.open = [&options, &image, store](const runner::UnpackFrom& unpack) {
    if (image.fetching) {
      const auto layers = BlobsBeside(store, image.fetching);
      if (MakeOf(*layers, options.common, [&](Progress& progress) { unpack(*layers, progress); }))
        return;
      return unpack(*layers, *MakeProgress(options.common));
    }
    const auto progress = MakeProgress(options.common);
    const image::FileReference* file = image.reference.file();
    if (file == nullptr)
      return unpack(*store, *progress);
    const LocalImage local = OpenFileImage(*file, options.platform);
    unpack(*local.blobs, *progress);
  };
  return how;
}

// When it had failed before, it has told why, and that is why its layers could not be rendered.
void Stop(Fetching& fetching) {
  fetching.process.Signal(SIGTERM);
  if (const ExitStatus ended = fetching.process.Wait(); ended.code != 0 && !ended.signalled)
    throw ChildFailed{ended.code};
}

// The last part of a name, as appc calls an app.
std::string LastPart(const std::string& name) {
  const std::string last = name.substr(name.rfind('/') + 1);
  const bool has_some = std::ranges::any_of(last, [](unsigned char c) { return std::isalnum(c) != 0; });
  return has_some ? image::ToAcName(last).substr(0, kMaxAppName) : "app";
}

// What an app is called whose image is called so.
std::string AppName(const image::Reference& reference, const std::string& text) {
  std::string name = text.substr(0, text.find(reference.appc() != nullptr ? ',' : '@'));
  if (reference.file() != nullptr) {
    name = reference.file()->path;
    while (name.ends_with('/')) name.pop_back();
  } else if (const size_t colon = name.rfind(':'); colon != std::string::npos && colon > name.rfind('/') + 1) {
    name.resize(colon);
  }
  return LastPart(name);
}

void CheckName(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; };
  if (name.empty() || name.size() > kMaxAppName || !std::ranges::all_of(name, allowed) || name.front() == '.')
    throw Error(ErrorKind::kUsage, "an app cannot be called " + Quoted(name),
                "letters, digits, '-', '_' and '.', at most 63, not '.' at the beginning");
}

// What an image was made of, if that is an ACI: it says more than other images.
std::optional<image::AciManifest> AciOf(const image::Image& image) {
  const auto found = image.manifest.annotations.find(std::string(image::kAciAnnotation));
  if (found == image.manifest.annotations.end())
    return std::nullopt;
  image::AciManifest manifest = image::AciManifest::Parse(found->second);
  image::RequireSameExecution(manifest, image.config_bytes, image::kAciAnnotation);
  return manifest;
}

// What is left of it where a pod manifest has another app in its place.
image::ImageConfig WithoutApp(image::ImageConfig config) {
  config.env.clear();
  config.working_dir.clear();
  config.volumes.clear();
  return config;
}

void Tell(const PodOptions& options, Gathering& pod, const std::string& app, const std::vector<std::string>& ignored) {
  if (ignored.empty())
    return;
  std::string list;
  for (const std::string& one : ignored) list += (list.empty() ? "" : "; ") + one;
  if (options.strict)
    throw Error(ErrorKind::kUnsupported, "app " + Quoted(app) + " wants what it cannot get: " + list,
                "without --strict it runs all the same");
  pod.held->Say([&options, text = "app " + app + " does not get: " + list] { Warn(options.common, text); });
}

// A volume that no app has a place for is a mistake.
void TellUnused(const PodOptions& options, const std::vector<NamedApp>& apps, Gathering& pod) {
  for (const runner::NamedVolume& volume : apps.front().run.named_volumes) {
    const auto used = [&](const runner::AppPlan& app) {
      return std::ranges::any_of(app.config.volumes, [&](const runner::Volume& other) {
        return other.kind == volume.volume.kind && other.source == volume.volume.source;
      });
    };
    if (std::ranges::none_of(pod.plan.apps, used))
      Tell(options, pod, pod.plan.apps.front().name,
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
  for (size_t i = 0; i < images.size(); ++i) apps.push_back(DescribeApp(plan.apps[i], images[i].image.image()));
  pod.Describe(DescribePod(std::move(apps), store->dir()));
  return pod;
}

std::vector<runner::Rootfs> Gathering::Render(const PodOptions& options, const std::optional<runner::IdMap>& map) {
  std::vector<runner::Rootfs> out = RenderChecked(options, map);
  if (const auto fetching = std::exchange(storing, nullptr))
    AwaitEnd(*fetching);
  return out;
}

std::vector<runner::Rootfs> Gathering::RenderChecked(const PodOptions& options,
                                                     const std::optional<runner::IdMap>& map) {
  std::vector<runner::Rootfs> out;
  deciders.clear();
  for (Gathered& one : images) {
    const runner::Rendering how = HowToRender(options, one, identities, store);
    try {
      out.push_back(runner::Render(one.image, *store, map, how));
    } catch (const Error&) {
      if (one.fetching)
        Stop(*one.fetching);
      throw;
    }
    if (one.fetching) {
      AwaitChecked(*one.fetching);
      storing = std::exchange(one.fetching, nullptr);
      NoteAccepted(one.image.accepted(), store->dir().name());
    }
  }
  held->Release();
  return out;
}

void Gathering::Settle() {
  const std::shared_ptr<Fetching> fetching = std::exchange(storing, nullptr);
  if (!fetching)
    return;
  const ExitStatus ended = fetching->process.Wait();
  if (ended.code == 0)
    return;
  const std::string why =
      ended.signalled ? "was ended by signal " + std::to_string(ended.code - 128) : std::string("has told why");
  PrintError(Error(ErrorKind::kFailed, "the image is not kept in the store: gantry-fetch " + why,
                   "the next run fetches what is missing of it"));
}

Gathering Gather(const PodOptions& options, const std::vector<NamedApp>& apps, bool with_ids,
                 const std::function<void()>& meanwhile) {
  if (apps.size() > runner::kMaxApps)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(runner::kMaxApps) + " images in one pod");
  const Judge judge{LoadPolicy(options.policy, options.common)};
  Gathering out;
  out.store = image::Store::Open(StoreRoot(options.common));
  out.identities = judge.policy.WantsIdentities();
  out.plan.annotations = options.annotations;
  std::vector<runner::RunOptions> runs;
  for (const NamedApp& app : apps) runs.push_back(app.run);
  // Before anything is fetched: who made a mistake in a profile is told at once.
  auto read_profiles = [&runs, done = false]() mutable {
    if (!std::exchange(done, true))
      std::ranges::for_each(runs, ReadProfile);
  };
  for (const NamedApp& app : apps) {
    const auto named = image::Reference::Parse(app.image);
    if (named.appc() != nullptr)
      read_profiles();
    const auto reference = named.appc() == nullptr
                               ? named
                               : BringHere(app.image, options.platform, options.policy, options.common).reference;
    RefusePipe(reference);
    runner::RunOptions& run = runs[out.images.size()];
    const bool whole = &app != &apps.back() || options.detach || out.identities;
    const bool with_id = with_ids || !app.image_id.empty();
    Brought brought = FetchAndVerify(options, reference, whole, judge, *out.store, with_id, [&] {
      read_profiles();
      if (out.images.empty())
        meanwhile();
    });
    RequireImageId(app, brought.decided.image_id);
    out.images.push_back({reference, std::move(brought.decided.image), std::move(brought.fetching)});
    out.deciders.push_back(std::move(brought.decided.decider));
    const image::VerifiedImage& image = out.images.back().image;
    if (out.images.back().fetching)
      out.held->Hold();
    else
      NoteAccepted(image.accepted(), StoreRoot(options.common));
    const image::Image& of = image.image();
    out.held->Say([&common = options.common, platform = of.config.platform,
                   vouched = "image " + of.descriptor.digest.str() + ", " + image.vouched_by()] {
      WarnOfOtherPlatform(platform, common);
      Note(common, vouched);
    });
    auto aci = AciOf(of);
    const std::string name =
        run.name.empty() ? UniqueName(out.plan.apps, aci ? LastPart(aci->name) : AppName(named, app.image)) : run.name;
    CheckName(name);
    if (std::ranges::find(out.plan.apps, name, &runner::AppPlan::name) != out.plan.apps.end())
      throw Error(ErrorKind::kUsage, "two apps are called " + Quoted(name), "give another with --name");
    std::vector<std::string> ignored = app.ignored;
    if (auto* appc = aci && aci->app && !app.substitutes ? &*aci->app : nullptr) {
      // They are programs to execute, and no part of an identity: whoever has an attested image could add some.
      if (out.identities && !appc->event_handlers.empty()) {
        ignored.emplace_back("event handlers, as the policy has identitySigned and no identity covers them");
        appc->event_handlers.clear();
      }
      run.env.insert(run.env.begin(), "AC_APP_NAME=" + name);
      runner::AddAppc(*appc, run, ignored);
    }
    Tell(options, out, name, ignored);
    out.plan.apps.push_back({name, app.image, of.descriptor.digest, of.config.diff_ids,
                             runner::Plan(app.substitutes ? WithoutApp(of.config) : of.config, run),
                             brought.decided.image_id, app.annotations});
  }
  TellUnused(options, apps, out);
  return out;
}

}  // namespace gantry::tools
