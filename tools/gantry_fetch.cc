// gantry-fetch: images from registries into the store, named only after the policy allowed them.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/image_tree.h"
#include "libimage/store/store.h"
#include "libimage/transport/fetcher.h"
#include "libsign/registries_d.h"
#include "libsign/verify.h"
#include "tools/fetch_appc.h"
#include "tools/local_image.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/registries.h"
#include "tools/remote_image.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxNames = 64;  // each has a process
constexpr std::string_view kFromLooker = "-";

struct FetchOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::vector<std::string> references;
  std::string platform;
  std::string name;
  std::string registries;
  bool all = false;
  bool referrers = false;
  bool json = false;
  bool early = false;
  bool only_image = false;

  // More than the image for one platform.
  bool many() const { return all || platform.find(',') != std::string::npos; }
};

sign::RegistriesD LoadRegistries(const FetchOptions& options) {
  return sign::RegistriesD::Load(Given(options.registries));
}

// What one argument may stand for, in the order of trial: several for a short name only.
using Candidates = std::vector<image::DockerReference>;

// None for an appc:, which discovery finds.
Candidates ParseName(const std::string& text) {
  const image::Reference reference = image::Reference::Parse(text);
  if (reference.docker() != nullptr)
    return {*reference.docker()};
  if (reference.appc() != nullptr)
    return {};
  if (reference.store() != nullptr && !reference.store()->explicitly_store)
    return ResolveShortName(text);
  throw Error(
      ErrorKind::kUsage, Quoted(text) + " is on this machine already",
      "gantry-fetch takes docker://[HOST/]PATH[:TAG][@DIGEST] and appc:NAME[:VERSION]; gantry-convert reads the "
      "others");
}

std::vector<Candidates> ParseNames(const FetchOptions& options) {
  std::vector<Candidates> out;
  if (options.references.empty())
    throw Error(ErrorKind::kUsage, "no image is named", "gantry-fetch docker://[HOST/]PATH[:TAG]");
  for (const std::string& text : options.references) out.push_back(ParseName(text));
  if (out.size() > kMaxNames)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(kMaxNames) + " images at once");
  if (!options.name.empty() && out.size() != 1)
    throw Error(ErrorKind::kUsage, "--name goes with one image only");
  return out;
}

std::vector<std::string> WebLookasides(const sign::RegistriesD& registries, const image::DockerReference& name) {
  std::vector<std::string> out;
  for (const std::string& base : registries.LookasideFor(name)) {
    if (!sign::LookasideDirectory(base))
      out.push_back(base);
  }
  return out;
}

// What the process that decides keeps beside: it writes evidence and names.
image::Confinement Kept(const sign::Policy& policy, const sign::RegistriesD& registries,
                        const std::string& store_root) {
  image::Confinement keep = DecisionConfinement(policy, registries);
  keep.write.push_back(store_root);
  return keep;
}

image::FetchPlan PlanFor(const FetchOptions& options, const image::DockerReference& name, bool waits,
                         const sign::RegistriesD& registries) {
  std::vector<image::FetchSource> sources = FetchSourcesOf(options.policy, name);
  for (image::FetchSource& source : sources) source.http = WithNotes(source.http, options.common);
  const std::string root = StoreRoot(options.common);
  const std::vector<image::Platform> platforms = ParsePlatforms(options.platform);
  return {.name = name,
          .platform = platforms.empty() ? image::Platform::Host() : platforms.front(),
          .many = options.many() ? std::optional(platforms) : std::nullopt,
          .referrers = options.referrers,
          .store_root = root,
          .sources = sources,
          .http = sources.back().http,
          .waits = waits,
          .pace = options.early ? WriteBack::Pace::kSparing : WriteBack::Pace::kSteady,
          .lookasides = WebLookasides(registries, name),
          .signature_url = [name](const std::string& base, const Digest& manifest,
                                  size_t n) { return sign::SignatureUrl(base, name, manifest, n); },
          .confine = [options, root] { Confine(options.common, FetchConfinement(root)); },
          .make_progress = [options] { return MakeProgress(options.common); }};
}

void KeepEvidence(image::Store& store, const Digest& manifest, const sign::Evidence& evidence) {
  size_t room = image::kMaxSignatures - store.Signatures(manifest).size();
  for (const std::string& signature : evidence.signatures) {
    if (room > 0 && !signature.empty()) {
      store.AddSignature(manifest, signature);
      --room;
    }
  }
}

// What is being decided about, and with what.
struct Decider {
  const image::DockerReference& name;
  const std::string& stored_as;
  const sign::Policy& policy;
  const sign::RegistriesD& registries;
  image::Store& store;
  image::Fetcher& fetcher;
};

sign::Evidence GatherEvidence(const Decider& decider, const image::FoundSignatures& found, const sign::Judged& image) {
  const Digest& manifest = image.descriptor().digest;
  sign::Evidence evidence =
      GatherRemote(decider.fetcher, decider.name, manifest, decider.policy, decider.registries, found);
  for (const std::string& signature : decider.store.Signatures(manifest)) evidence.Add(signature);
  if (decider.policy.RuleFor(decider.name).WantsNewest())
    evidence.newest = NewestAccepted(decider.store, decider.stored_as, image, decider.policy);
  return evidence;
}

// What gets a name.
using Verified = std::variant<image::VerifiedImage, image::VerifiedArtifact>;

// Told of an image that was decided about: when its documents are in the store and only layers are still to come, and
// when these are there and checked, too, and only its name is missing.
enum class Stage { kDecided, kChecked };
using Told = std::function<void(const image::VerifiedImage&, Stage)>;

template <typename Allowed>
void NoteAccepted(image::Store& store, const Allowed& verified) {
  if (verified.accepted())
    store.NoteAccepted(*verified.accepted());
}

// The image for this machine, else the first; of an index without images the first artifact. The index that it keeps
// leads to the others.
Verified ChooseNamed(const image::ImageTree& tree) {
  const std::vector<const image::VerifiedImage*> images = ImagesOf(tree);
  if (images.empty())
    return *ArtifactsOf(tree).front();
  const image::Platform host = image::Platform::Host();
  const auto here = std::find_if(images.begin(), images.end(), [&](const image::VerifiedImage* image) {
    const image::Platform& is = image->image().config.platform;
    return is.os == host.os && is.architecture == host.architecture;
  });
  return here == images.end() ? *images.front() : **here;
}

// The documents are in the store when the top is known, and every image is decided about before a layer is fetched.
Verified FetchMany(const Decider& decider, const FetchOptions& options) {
  image::Store& store = decider.store;
  const image::Descriptor top = decider.fetcher.ReceiveTop();
  const std::unique_ptr<image::Lease> lease = store.NewLease();
  lease->Add({top.digest});
  std::vector<std::pair<Digest, sign::Evidence>> kept;
  const auto verify = [&](auto fetched) {
    const Digest manifest = sign::Judged(fetched).descriptor().digest;
    kept.emplace_back(manifest, GatherEvidence(decider, decider.fetcher.FindSignatures(manifest), fetched));
    return sign::Verifier::Verify(std::move(fetched), decider.policy, kept.back().second);
  };
  const image::ImageTree tree = LoadTree(store, top, ParsePlatforms(options.platform), decider.name, verify, verify);
  Verified named = ChooseNamed(tree);
  decider.fetcher.FetchBlobs();
  for (const auto& [manifest, evidence] : kept) KeepEvidence(store, manifest, evidence);
  for (const image::VerifiedImage* image : ImagesOf(tree)) NoteAccepted(store, *image);
  for (const image::VerifiedArtifact* artifact : ArtifactsOf(tree)) NoteAccepted(store, *artifact);
  return named;
}

// Whether it hangs on what the layers hold. They come before the decision only where a key of the policy made an
// attestation about that.
bool NeedsLayers(const sign::Decision& decision) {
  return !decision.allowed && std::any_of(decision.steps.begin(), decision.steps.end(),
                                          [](const sign::Step& step) { return step.code == "identity-unknown"; });
}

image::VerifiedImage FetchImage(const Decider& decider, image::FetchedImage fetched, sign::Evidence evidence,
                                const Told& tell) {
  const image::Image& image = fetched.image();
  const Digest manifest = image.descriptor.digest;
  const bool early = decider.policy.RuleFor(decider.name).WantsAttachments() &&
                     NeedsLayers(sign::Verifier::Decide(fetched, decider.policy, evidence, sign::Detail::kWhole));
  if (early) {
    decider.fetcher.FetchBlobs();
    const Digest identity = image::FindIdentity(image, decider.store, &decider.store).digest;
    evidence.identity = [identity] { return identity; };
  }
  image::VerifiedImage verified = sign::Verifier::Verify(std::move(fetched), decider.policy, evidence);
  KeepEvidence(decider.store, manifest, evidence);
  if (early)
    tell(verified, Stage::kDecided);
  else
    decider.fetcher.FetchBlobs([&] { tell(verified, Stage::kDecided); }, [&] { tell(verified, Stage::kChecked); });
  NoteAccepted(decider.store, verified);
  return verified;
}

image::VerifiedArtifact FetchArtifact(const Decider& decider, image::FetchedArtifact fetched,
                                      const sign::Evidence& evidence) {
  image::VerifiedArtifact verified = sign::Verifier::Verify(std::move(fetched), decider.policy, evidence);
  decider.fetcher.FetchBlobs();
  KeepEvidence(decider.store, verified.artifact().descriptor.digest, evidence);
  NoteAccepted(decider.store, verified);
  return verified;
}

Verified FetchOne(const Decider& decider, const Told& tell, bool only_image) {
  image::Offer offer = decider.fetcher.Receive(&decider.store);
  if (only_image)
    offer.image();  // or it throws: for an artifact no blob is asked
  sign::Evidence evidence = GatherEvidence(decider, {offer.signatures, offer.looked_at}, offer.fetched);
  if (auto* artifact = std::get_if<image::FetchedArtifact>(&offer.fetched))
    return FetchArtifact(decider, std::move(*artifact), evidence);
  return FetchImage(decider, std::get<image::FetchedImage>(std::move(offer.fetched)), std::move(evidence), tell);
}

void PrintLine(const FetchOptions& options, const std::string& name, const image::Descriptor& descriptor,
               const image::Manifest& manifest, std::pair<std::string, json::Value> kind,
               const std::string& vouched_by) {
  const std::string digest = descriptor.digest.str();
  if (!options.json) {
    std::printf("%s@%s\n", name.c_str(), digest.c_str());
    return;
  }
  uint64_t bytes = 0;
  for (const image::Descriptor& layer : manifest.layers) bytes += layer.size;
  json::Object line{{"name", name}, {"digest", digest}, {"mediaType", descriptor.media_type}};
  line.Append(kind.first, std::move(kind.second));
  line.Append("layers", static_cast<uint64_t>(manifest.layers.size()));
  line.Append("bytes", bytes);
  line.Append("vouchedBy", vouched_by);
  std::printf("%s\n", json::Print(line).c_str());
  std::fflush(stdout);
}

void Print(const FetchOptions& options, const std::string& name, const image::VerifiedImage& verified) {
  const image::Image& image = verified.image();
  PrintLine(options, name, image.descriptor, image.manifest, {"platform", image.config.platform.ToString()},
            verified.vouched_by());
}

void Print(const FetchOptions& options, const std::string& name, const image::VerifiedArtifact& verified) {
  const image::Artifact& artifact = verified.artifact();
  PrintLine(options, name, artifact.descriptor, artifact.manifest, {"artifactType", artifact.manifest.ArtifactType()},
            verified.vouched_by());
}

int PrintConfinements(const FetchOptions& options) {
  const std::string root = StoreRoot(options.common);
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  std::printf("the process with the network:\n%s\nthe process that decides:\n%s",
              image::Describe(FetchConfinement(root)).c_str(),
              image::Describe(Kept(policy, LoadRegistries(options), root)).c_str());
  return 0;
}

// Whether the next of the registries to be searched may do better.
bool MaybeElsewhere(const Error& error) {
  return error.kind() == ErrorKind::kNotFound || error.kind() == ErrorKind::kNetwork ||
         error.kind() == ErrorKind::kFailed;
}

// What all images of one command are decided by.
struct Decisions {
  const sign::Policy& policy;
  const sign::RegistriesD& registries;
  image::Store& store;
};

enum class Say { kEarly, kWhenNamed };

void FetchNamed(const FetchOptions& options, const image::DockerReference& name, const Decisions& by, Say when,
                image::Fetcher& fetcher) {
  Note(options.common, "asking for " + Quoted(name.ToString()));
  fetcher.Begin();
  const std::string stored_as = options.name.empty()
                                    ? name.WithDefaultTag().ToString()
                                    : image::DockerReference::Parse(options.name).WithDefaultTag().ToString();
  const Decider decider{name, stored_as, by.policy, by.registries, by.store, fetcher};
  const auto say = [&](const auto& one) { Print(options, stored_as, one); };
  int left = options.early ? 3 : 1;  // times to say it
  const Told tell = [&](const image::VerifiedImage& image, Stage stage) {
    if (when != Say::kEarly)
      return;
    // Whoever is interrupted from now on may have begun with it, and it is kept all the same.
    if (stage == Stage::kChecked)
      signal(SIGINT, SIG_IGN);
    say(image);
    --left;
  };
  const Verified verified = options.many() ? FetchMany(decider, options) : FetchOne(decider, tell, options.only_image);
  std::visit([&](const auto& one) { by.store.SetName(stored_as, one); }, verified);
  fetcher.Release();
  for (; left > 0; --left) std::visit(say, verified);
}

// The first of `candidates` that there is, of which nothing is said early where another one may follow; their fetchers
// are the first of `fetchers`, and taken from there.
void FetchFirst(const FetchOptions& options, const Candidates& candidates, const Decisions& by,
                std::deque<image::Fetcher>& fetchers) {
  std::deque<image::Fetcher> ours;
  for (size_t i = 0; i < candidates.size(); ++i) {
    ours.push_back(std::move(fetchers.front()));
    fetchers.pop_front();
  }
  const Say when = options.early && candidates.size() == 1 ? Say::kEarly : Say::kWhenNamed;
  for (size_t i = 0; i < candidates.size(); ++i) {
    try {
      return FetchNamed(options, candidates[i], by, when, ours[i]);
    } catch (const Error& error) {
      if (i + 1 == candidates.size() || !MaybeElsewhere(error))
        throw;
      Note(options.common, error.message());
    }
  }
}

// The half with the network of a program that only looks at an image, which is at the other end of standard input.
int ServeLook(const FetchOptions& options) {
  if (options.references.size() != 2)
    throw Error(ErrorKind::kUsage, "standard input is told about one image");
  const Candidates candidates = ParseName(options.references[1]);
  if (candidates.empty())
    throw Error(ErrorKind::kUnsupported, "an appc: is only looked at once it was fetched");
  return image::ServeFetch(PlanFor(options, candidates.front(), false, LoadRegistries(options)), STDIN_FILENO);
}

void RefuseForAppc(const FetchOptions& options) {
  if (options.many() || options.referrers || !options.name.empty())
    throw Error(ErrorKind::kUsage, "an appc: is one image, under its own name",
                "leave out --all, --referrers and --name, and give one platform");
}

int Run(const FetchOptions& options) {
  const std::string root = StoreRoot(options.common);
  if (options.common.print_confinement)
    return PrintConfinements(options);
  if (!options.references.empty() && options.references.front() == kFromLooker)
    return ServeLook(options);
  const std::vector<Candidates> names = ParseNames(options);
  const std::unique_ptr<image::Store> store = image::Store::Open(root);
  const sign::RegistriesD registries = LoadRegistries(options);
  std::deque<image::Fetcher> fetchers;
  std::deque<AppcFetch> by_appc_name;
  for (size_t i = 0; i < names.size(); ++i) {
    const Candidates& candidates = names[i];
    if (candidates.empty()) {
      RefuseForAppc(options);
      by_appc_name.emplace_back(*image::Reference::Parse(options.references[i]).appc(), options.platform,
                                options.policy, options.common);
    }
    for (const image::DockerReference& name : candidates)
      fetchers.push_back(image::Fetcher::Start(PlanFor(options, name, candidates.size() > 1, registries)));
  }
  WarnOfInsecureNetwork(options.policy, "fetched");
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  Confine(options.common, Kept(policy, registries, root));
  for (const Candidates& candidates : names) {
    if (!candidates.empty()) {
      FetchFirst(options, candidates, {policy, registries, *store}, fetchers);
      continue;
    }
    const image::VerifiedImage verified = by_appc_name.front().Fetch(policy);
    Print(options, by_appc_name.front().name(), verified);
    by_appc_name.pop_front();
  }
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app(
      "Fetch images and artifacts from registries, and by appc names, into the store, verified before they are named.",
      "gantry-fetch");
  FetchOptions options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_option("REF", options.references,
                 "docker://[HOST[:PORT]/]PATH[:TAG][@DIGEST] or appc:NAME[:VERSION][,LABEL=VALUE...]");
  CLI::Option* platform =
      app.add_option("--platform", options.platform, "the image for this platform, or several, instead of the host's")
          ->type_name("OS/ARCH[/VARIANT][,...]");
  app.add_flag("--all", options.all, "the images for all platforms, and the index that lists them")->excludes(platform);
  app.add_flag("--referrers", options.referrers, "what refers to it, too: signatures, attestations");
  app.add_option("--name", options.name, "store it under this name")->type_name("NAME");
  AddRegistriesOption(app, options.registries);
  app.add_flag("--json", options.json, "print a JSON object for each image");
  app.add_flag("--early", options.early,
               "print it when only layers are still to come, when they are there and checked, and when it has its name")
      ->group("");  // for programs that read what comes
  app.add_flag("--only-image", options.only_image, "refuse an artifact once its manifest is here")
      ->group("");  // for programs that can only use images
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
