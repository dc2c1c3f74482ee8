// gantry-push: an image that is on this machine into registries, under the trust policy.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/convert/convert.h"
#include "libimage/convert/copy_tree.h"
#include "libimage/transport/pusher.h"
#include "libsign/verify.h"
#include "tools/local_image.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/publish.h"
#include "tools/registry_prefix.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxDestinations = 16;  // each has a process
constexpr std::string_view kFromConvert = "-";

struct PushOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::string source;
  std::vector<std::string> destinations;
  std::string platform;
  std::string as;
  std::string mount_from;
  bool all = false;
  bool scoped = false;
  bool referrers = false;
  bool no_signatures = false;
  bool json = false;

  // Indexes, and what they list.
  bool many() const { return all || platform.find(',') != std::string::npos; }
};

// One name, or a place below which each image gets one.
struct PushDestination {
  image::DockerReference name;
  bool below = false;
};

PushDestination ParseDestination(const std::string& text) {
  if (auto prefix = ParsePrefix(text))
    return {*std::move(prefix), true};
  const image::Reference reference = image::Reference::Parse(text);
  if (reference.docker() == nullptr)
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no registry", "gantry-push SRC docker://[HOST/]PATH[:TAG]");
  return {*reference.docker()};
}

image::PushPlan PlanFor(const PushOptions& options, const PushDestination& to) {
  return {.name = to.name,
          .below = to.below,
          .http = WithNotes(HttpOptionsOf(options.policy, to.name), options.common),
          .confine = [common = options.common] { Confine(common, PushConfinement()); }};
}

// What the process that reads the image and decides keeps.
image::Confinement Kept(const PushOptions& options, const sign::Policy& policy, const sign::RegistriesD& registries) {
  image::Confinement keep = DecisionConfinement(policy, registries);
  const std::string root = StoreRoot(options.common);
  keep.write.push_back(root);  // for a lease
  if (options.source != kFromConvert)
    KeepForImage(image::Reference::Parse(options.source), root, keep);
  return keep;
}

int PrintConfinements(const PushOptions& options) {
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  std::printf("the process with the network:\n%s\nthe process that reads the image and decides:\n%s",
              image::Describe(PushConfinement()).c_str(),
              image::Describe(Kept(options, policy, sign::RegistriesD::Load())).c_str());
  return 0;
}

// What one destination got.
struct Pushed {
  image::Descriptor top;
  bool anew = true;
  size_t referrers = 0;
};

void Print(const PushOptions& options, const image::DockerReference& to, const Pushed& pushed,
           const json::Object& vouched) {
  const std::string where = image::Reference(to.WithDefaultTag()).ToString();
  const std::string digest = pushed.top.digest.str();
  if (!options.json) {
    std::printf("%s  %s\n", digest.c_str(), where.c_str());
    return;
  }
  json::Object line{{"output", where}, {"id", digest}, {"mediaType", pushed.top.media_type}, {"pushed", pushed.anew}};
  if (options.referrers)
    line.Append("referrers", static_cast<uint64_t>(pushed.referrers));
  for (const auto& [key, value] : vouched.members()) line.Append(key, value);
  std::printf("%s\n", json::Print(line).c_str());
}

void MountWhatIsThere(const PushOptions& options, const image::DockerReference& to,
                      const std::optional<image::DockerReference>& from, image::Pusher& pusher) {
  if (!options.mount_from.empty())
    pusher.MountFrom(options.mount_from);
  else if (from && from->host == to.host)
    pusher.MountFrom(from->path);
}

// What is written to one name: `add` puts it into the sink, and returns what gets the name, unless that is `known` and
// there already.
Pushed PushInto(const PushOptions& options, const image::DockerReference& to, image::Pusher& pusher,
                const std::optional<image::Descriptor>& known, const std::vector<Digest>& subjects,
                const image::ReferrersOf& referrers, const image::Blobs& blobs,
                const std::function<image::Descriptor(image::ImageSink&, Progress&)>& add) {
  const auto sink = image::MakeRegistrySink(pusher);
  const auto progress = MakeProgress(options.common);
  const bool there = known && pusher.Has(known->digest);
  if (there)
    Note(options.common, Quoted(to.ToString()) + " is this image already");
  Pushed pushed{there ? *known : add(*sink, *progress), !there};
  if (!there)
    sink->Name(pushed.top, to.tag);
  if (options.referrers && referrers)
    pushed.referrers = image::CopyReferrers(referrers, subjects, blobs, *sink);
  sink->Commit();
  return pushed;
}

Pushed PushTo(const PushOptions& options, const image::DockerReference& to, image::Pusher& pusher,
              const LocalImage& source, const image::VerifiedImage& image) {
  const image::Descriptor& manifest = image.image().descriptor;
  MountWhatIsThere(options, to, source.image.name(), pusher);
  return PushInto(options, to, pusher, manifest, {manifest.digest}, source.referrers, *source.blobs,
                  [&](image::ImageSink& sink, Progress& progress) {
                    image::Conversion::Copy(
                        image, *source.blobs, sink,
                        {.preserve_digests = true, .threads = image::kMaxUploads, .progress = &progress});
                    return manifest;
                  });
}

// An index with all that it lists, or a new one over a part of it.
Pushed PushTree(const PushOptions& options, const image::DockerReference& to, image::Pusher& pusher,
                const LocalImages& source, const image::ImageTree& tree) {
  MountWhatIsThere(options, to, source.name, pusher);
  std::vector<Digest> subjects;
  if (tree.whole)
    subjects.push_back(tree.descriptor.digest);
  for (const image::VerifiedImage* image : ImagesOf(tree)) subjects.push_back(image->image().descriptor.digest);
  for (const image::VerifiedArtifact* artifact : ArtifactsOf(tree)) {
    if (artifact != tree.verified_artifact())
      subjects.push_back(artifact->artifact().descriptor.digest);
  }
  const image::CopyOptions base{.preserve_digests = tree.whole,
                                .threads = image::kMaxUploads,
                                .note = [common = options.common](std::string_view text) { Warn(common, text); }};
  return PushInto(options, to, pusher, tree.whole ? std::optional(tree.descriptor) : std::nullopt, subjects,
                  source.referrers, *source.blobs, [&](image::ImageSink& sink, Progress& progress) {
                    image::CopyOptions copy = base;
                    copy.progress = &progress;
                    return image::CopyTree(tree, *source.blobs, sink, copy, [&](const image::VerifiedImage& image) {
                      return image::Conversion::Copy(image, *source.blobs, sink, copy);
                    });
                  });
}

// What the images of a source are called below a place; one name for each.
std::vector<image::DockerReference> NamesBelow(const PushOptions& options, const PushDestination& to,
                                               const LocalImages& source, const LocalImages::Top& top) {
  std::vector<image::DockerReference> names;
  for (const std::string& name : top.names) names.push_back(BelowByName(to.name, name, options.scoped));
  if (names.empty() && source.name)
    names.push_back(Below(to.name, *source.name, options.scoped));
  if (names.empty()) {
    throw Error(ErrorKind::kUsage, "image " + top.descriptor.digest.str() + " has no name to go by",
                "push it alone, as " + options.source + ":" + top.descriptor.digest.str());
  }
  return names;
}

json::Object VouchersOf(const image::ImageTree& tree) {
  json::Array images;
  for (const image::VerifiedImage* image : ImagesOf(tree)) {
    images.emplace_back(json::Object{{"id", image->image().descriptor.digest.str()},
                                     {"platform", image->image().config.platform.ToString()},
                                     {"vouchedBy", image->vouched_by()}});
  }
  json::Array artifacts;
  for (const image::VerifiedArtifact* artifact : ArtifactsOf(tree)) {
    artifacts.emplace_back(json::Object{{"id", artifact->artifact().descriptor.digest.str()},
                                        {"artifactType", artifact->artifact().manifest.ArtifactType()},
                                        {"vouchedBy", artifact->vouched_by()}});
  }
  json::Object out;
  if (!images.empty())
    out.Append("images", std::move(images));
  if (!artifacts.empty())
    out.Append("artifacts", std::move(artifacts));
  return out;
}

void PushAllTo(const PushOptions& options, const PushDestination& to, image::Pusher& pusher, const LocalImages& source,
               const std::vector<image::ImageTree>& trees) {
  if (!to.below && trees.size() > 1) {
    throw Error(
        ErrorKind::kUsage,
        Quoted(options.source) + " has " + std::to_string(trees.size()) + " images, and one name cannot hold them",
        "write " + image::Reference(to.name).ToString() + "/ to put each below it, or choose one with :REF");
  }
  for (size_t i = 0; i < trees.size(); ++i) {
    const std::vector<image::DockerReference> names =
        to.below ? NamesBelow(options, to, source, source.tops[i]) : std::vector{to.name};
    for (const image::DockerReference& name : names) {
      if (to.below)
        pusher.Target(name);
      Print(options, name, PushTree(options, name, pusher, source, trees[i]), VouchersOf(trees[i]));
    }
  }
}

image::ImageTree LoadVerified(const PushOptions& options, const LocalImages& source, const image::Descriptor& top,
                              const sign::Policy& policy) {
  const auto verify = [&](auto fetched) {
    sign::Evidence evidence = source.evidence(sign::Judged(fetched).descriptor().digest);
    AddAccepted(fetched, StoreRoot(options.common), evidence);
    return sign::Verifier::Verify(std::move(fetched), policy, evidence);
  };
  return LoadTree(*source.blobs, top, ParsePlatforms(options.platform), source.name, verify, verify);
}

// With what speaks for it, as an image.
void PushArtifact(const PushOptions& options, const std::vector<PushDestination>& destinations,
                  std::deque<image::Pusher>& pushers, const LocalImages& source, const sign::Policy& policy) {
  const image::ImageTree tree = LoadVerified(options, source, source.tops.front().descriptor, policy);
  const image::VerifiedArtifact& artifact = *tree.verified_artifact();
  Note(options.common, "the artifact is trusted by " + artifact.vouched_by());
  for (const PushDestination& to : destinations) {
    const Pushed pushed = PushTree(options, to.name, pushers.front(), source, tree);
    if (!options.no_signatures)
      PublishAll(pushers.front(), tree.descriptor, source.evidence(tree.descriptor.digest));
    pushers.pop_front();
    Print(options, to.name, pushed,
          {{"artifactType", artifact.artifact().manifest.ArtifactType()}, {"vouchedBy", artifact.vouched_by()}});
  }
}

// All of the source is judged before anything is sent.
void PushAll(const PushOptions& options, const std::vector<PushDestination>& destinations,
             std::deque<image::Pusher>& pushers, const LocalName& name, const sign::Policy& policy,
             const sign::RegistriesD& registries) {
  LocalImages source = OpenLocalImages(name, StoreRoot(options.common), registries);
  if (const auto as = ParseAs(options.as))
    JudgeAs(source, *as, registries);
  std::vector<image::ImageTree> trees;
  for (const LocalImages::Top& top : source.tops)
    trees.push_back(LoadVerified(options, source, top.descriptor, policy));
  for (const PushDestination& to : destinations) {
    PushAllTo(options, to, pushers.front(), source, trees);
    pushers.pop_front();
  }
}

// The half with the network of a gantry-convert, which is at the other end of standard input.
int ServeConvert(const PushOptions& options, const std::vector<PushDestination>& names) {
  if (names.size() != 1)
    throw Error(ErrorKind::kUsage, "standard input goes to one registry");
  return image::ServePush(PlanFor(options, names.front()), STDIN_FILENO);
}

int Run(const PushOptions& options) {
  if (options.common.print_confinement)
    return PrintConfinements(options);
  std::vector<PushDestination> names;
  for (const std::string& text : options.destinations) names.push_back(ParseDestination(text));
  if (names.size() > kMaxDestinations)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(kMaxDestinations) + " destinations at once");
  if (options.source == kFromConvert)
    return ServeConvert(options, names);
  const LocalName source_name{image::Reference::Parse(options.source)};
  const auto as = ParseAs(options.as);
  std::deque<image::Pusher> pushers;
  for (const PushDestination& name : names) pushers.push_back(image::Pusher::Start(PlanFor(options, name)));
  WarnOfInsecureNetwork(options.policy, "pushed");
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  const sign::RegistriesD registries = sign::RegistriesD::Load();
  Confine(options.common, Kept(options, policy, registries));
  const bool below = std::any_of(names.begin(), names.end(), [](const PushDestination& name) { return name.below; });
  if (options.many() || below) {
    PushAll(options, names, pushers, source_name, policy, registries);
    return 0;
  }
  const Local opened =
      OpenLocal(source_name, Purpose::kRead, StoreRoot(options.common), options.platform, as, registries);
  if (const auto* artifact = std::get_if<LocalImages>(&opened)) {
    PushArtifact(options, names, pushers, *artifact, policy);
    return 0;
  }
  const auto& source = std::get<LocalImage>(opened);
  const image::VerifiedImage verified = sign::Verifier::Verify(source.image, policy, source.evidence);
  Note(options.common, "the image is trusted by " + verified.vouched_by());
  for (const PushDestination& to : names) {
    const Pushed pushed = PushTo(options, to.name, pushers.front(), source, verified);
    if (!options.no_signatures)
      PublishAll(pushers.front(), verified.image().descriptor, source.evidence);
    pushers.pop_front();
    Print(options, to.name, pushed, {{"vouchedBy", verified.vouched_by()}});
  }
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Push an image or artifact that is on this machine to registries, under the trust policy.",
               "gantry-push");
  PushOptions options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_option("--as", options.as, "the registry name to judge the image under, in place of the one it has")
      ->type_name("NAME");
  app.add_option("--platform", options.platform,
                 "os/architecture[/variant] to choose, this machine's by default; several: the index over these")
      ->type_name("PLATFORM[,...]");
  app.add_flag("--all", options.all, "indexes with all that they list, and every image of the source");
  app.add_flag("--scoped", options.scoped, "below DST/ go the whole names of images, with their hosts");
  app.add_flag("--referrers", options.referrers, "what refers to the images, too: signatures, attestations");
  app.add_option("--mount-from", options.mount_from, "a repository of the same registry that has the same blobs")
      ->type_name("PATH");
  app.add_flag("--no-signatures", options.no_signatures, "push the image alone, without what speaks for it");
  app.add_flag("--json", options.json, "print the results as JSON");
  app.add_option(
         "SRC", options.source,
         "oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], aci:FILE, store:NAME or a bare name")
      ->required();
  app.add_option("DST", options.destinations, "docker://[HOST[:PORT]/]PATH[:TAG], or docker://HOST[:PORT]/[PATH/]")
      ->required();
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
