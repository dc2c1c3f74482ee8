// gantry-fetch: images from registries into the store, named only after the policy allowed them.
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/store/store.h"
#include "libimage/transport/fetcher.h"
#include "libsign/registries_d.h"
#include "libsign/verify.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

constexpr size_t kMaxNames = 64;  // each has a process

struct FetchOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::vector<std::string> references;
  std::string platform;
  std::string name;
  bool json = false;
};

image::DockerReference ParseName(const std::string& text) {
  const image::Reference reference = image::Reference::Parse(text);
  if (reference.docker() != nullptr)
    return *reference.docker();
  if (reference.store() != nullptr && !reference.store()->explicitly_store)
    return image::DockerReference::Parse(text);
  if (reference.appc() != nullptr)
    throw Error(ErrorKind::kUnsupported, "cannot fetch " + Quoted(text) + ": appc discovery is not built in");
  throw Error(ErrorKind::kUsage, Quoted(text) + " is on this machine already",
              "gantry-fetch takes docker://[HOST/]PATH[:TAG][@DIGEST]; gantry-convert reads the others");
}

std::vector<image::DockerReference> ParseNames(const FetchOptions& options) {
  std::vector<image::DockerReference> out;
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

image::FetchPlan PlanFor(const FetchOptions& options, const image::DockerReference& name,
                         const sign::RegistriesD& registries) {
  const std::string root = StoreRoot(options.common);
  return {.name = name,
          .platform = options.platform.empty() ? image::Platform::Host() : image::Platform::Parse(options.platform),
          .store_root = root,
          .http = HttpOptionsOf(options.policy, name),
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

sign::Evidence GatherEvidence(const image::Offer& offer, const image::DockerReference& name, const Digest& manifest,
                              const sign::RegistriesD& registries, const image::Store& store) {
  sign::Evidence evidence;
  for (const std::string& signature : offer.signatures) evidence.Add(signature);
  evidence.looked_at = offer.looked_at;
  sign::GatherLookaside(registries, name, manifest, evidence);
  for (const std::string& signature : store.Signatures(manifest)) evidence.Add(signature);
  return evidence;
}

void Print(const FetchOptions& options, const std::string& name, const image::VerifiedImage& image) {
  const std::string digest = image.image().descriptor.digest.str();
  if (!options.json) {
    std::printf("%s@%s\n", name.c_str(), digest.c_str());
    return;
  }
  uint64_t bytes = 0;
  for (const image::Descriptor& layer : image.image().manifest.layers) bytes += layer.size;
  const json::Object line{{"name", name},
                          {"digest", digest},
                          {"mediaType", image.image().descriptor.media_type},
                          {"platform", image.image().config.platform.ToString()},
                          {"layers", static_cast<uint64_t>(image.image().manifest.layers.size())},
                          {"bytes", bytes},
                          {"vouchedBy", image.vouched_by()}};
  std::printf("%s\n", json::Print(line).c_str());
}

int PrintConfinements(const FetchOptions& options) {
  const std::string root = StoreRoot(options.common);
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  std::printf("the process with the network:\n%s\nthe process that decides:\n%s",
              image::Describe(FetchConfinement(root)).c_str(),
              image::Describe(Kept(policy, sign::RegistriesD::Load(), root)).c_str());
  return 0;
}

int Run(const FetchOptions& options) {
  const std::string root = StoreRoot(options.common);
  if (options.common.print_confinement)
    return PrintConfinements(options);
  const std::vector<image::DockerReference> names = ParseNames(options);
  const std::unique_ptr<image::Store> store = image::Store::Open(root);
  const sign::RegistriesD registries = sign::RegistriesD::Load();
  std::deque<image::Fetcher> fetchers;
  for (const image::DockerReference& name : names)
    fetchers.push_back(image::Fetcher::Start(PlanFor(options, name, registries)));
  WarnOfInsecureNetwork(options.policy, "fetched");
  const sign::Policy policy = LoadPolicy(options.policy, options.common);
  Confine(options.common, Kept(policy, registries, root));
  for (const image::DockerReference& name : names) {
    Note(options.common, "asking for " + Quoted(name.ToString()));
    image::Offer offer = fetchers.front().Receive();
    const Digest manifest = offer.image.image().descriptor.digest;
    const sign::Evidence evidence = GatherEvidence(offer, name, manifest, registries, *store);
    const image::VerifiedImage verified = sign::Verifier::Verify(std::move(offer.image), policy, evidence);
    fetchers.front().FetchBlobs();
    const std::string stored_as = options.name.empty()
                                      ? name.WithDefaultTag().ToString()
                                      : image::DockerReference::Parse(options.name).WithDefaultTag().ToString();
    KeepEvidence(*store, manifest, evidence);
    store->SetName(stored_as, verified);
    fetchers.front().Release();
    fetchers.pop_front();
    Print(options, stored_as, verified);
  }
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("Fetch images from registries into the store, verified by policy before they are named.",
               "gantry-fetch");
  FetchOptions options;
  AddCommonOptions(app, options.common);
  AddPolicyOptions(app, options.policy);
  app.add_option("REF", options.references, "docker://[HOST[:PORT]/]PATH[:TAG][@DIGEST]");
  app.add_option("--platform", options.platform, "the image for this platform instead of the host's")
      ->type_name("OS/ARCH[/VARIANT]");
  app.add_option("--name", options.name, "store it under this name")->type_name("NAME");
  app.add_flag("--json", options.json, "print a JSON object for each image");
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
