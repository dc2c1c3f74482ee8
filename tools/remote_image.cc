#include "tools/remote_image.h"

#include <utility>

#include "libsign/verify.h"
#include "tools/local_image.h"
#include "tools/network_child.h"

namespace gantry::tools {

namespace {

image::Fetcher Start(const image::DockerReference& name, const image::Platform& platform,
                     const std::vector<std::string>& chosen, const std::string& registries, const PolicyOptions& policy,
                     const CommonOptions& common) {
  const std::string root = StoreRoot(common);
  image::Store::Open(root);  // what is not there at Confine cannot be read after it
  std::vector<std::string> arguments = PushArguments(policy, common);
  arguments.insert(arguments.end(), {"--root", root});
  arguments.insert(arguments.end(), chosen.begin(), chosen.end());
  if (!registries.empty())
    arguments.insert(arguments.end(), {"--registries.d", registries});
  return StartFetch(name, platform, arguments);
}

}  // namespace

RemoteImage RemoteImage::Ask(const image::DockerReference& name, const std::string& platform,
                             const std::string& registries, const PolicyOptions& policy, const CommonOptions& common) {
  const image::Platform wanted = platform.empty() ? image::Platform::Host() : image::Platform::Parse(platform);
  return {Start(name, wanted, ForPlatform(platform), registries, policy, common), StoreRoot(common)};
}

image::Fetcher AskForAll(const image::DockerReference& name, const std::string& registries, const PolicyOptions& policy,
                         const CommonOptions& common) {
  return Start(name, image::Platform::Host(), {"--all"}, registries, policy, common);
}

const image::Fetched& RemoteImage::fetched(const std::optional<image::DockerReference>& as) {
  if (!offer_)
    offer_ = fetcher_.Receive(store_);
  if (auto* artifact = std::get_if<image::FetchedArtifact>(&offer_->fetched); artifact != nullptr && as)
    artifact->name = as;
  else if (as)
    offer_->fetched = image::FetchedImage(offer_->image().image(), *as, offer_->image().index());
  return offer_->fetched;
}

const image::FetchedImage& RemoteImage::image(const std::optional<image::DockerReference>& as) {
  fetched(as);
  return offer_->image();
}

sign::Evidence RemoteImage::Gather(const sign::Policy& policy, const sign::RegistriesD& registries) {
  const sign::Judged judged(fetched());
  const image::DockerReference& name = judged.name().value();
  sign::Evidence evidence = GatherRemote(fetcher_, name, judged.descriptor().digest, policy, registries,
                                         {offer_->signatures, offer_->looked_at});
  if (std::holds_alternative<image::FetchedImage>(offer_->fetched)) {
    evidence.identity = [this, identity = std::optional<Digest>()]() mutable {
      if (!identity)
        identity = ComputeIdentity();
      return *identity;
    };
  }
  if (policy.RuleFor(name).WantsNewest())
    evidence.newest =
        NewestAccepted(*image::Store::OpenReadOnly(root_), name.WithDefaultTag().ToString(), judged, policy);
  return evidence;
}

RemoteImage& RemoteImage::KeepIn(image::Store& store) {
  store_ = &store;
  return *this;
}

void RemoteImage::FetchBlobs() {
  if (!std::exchange(fetched_, true))
    fetcher_.FetchBlobs();
}

Digest RemoteImage::ComputeIdentity() {
  const image::Image& fetched = image().image();
  FetchBlobs();
  const auto store = image::Store::OpenReadOnly(root_);
  return image::FindIdentity(fetched, *store, store.get()).digest;
}

sign::Evidence GatherRemote(image::Fetcher& fetcher, const image::DockerReference& name, const Digest& manifest,
                            const sign::Policy& policy, const sign::RegistriesD& registries,
                            const image::FoundSignatures& found) {
  sign::Evidence evidence;
  for (const std::string& signature : found.signatures) evidence.Add(signature);
  evidence.looked_at = found.looked_at;
  sign::GatherLookaside(registries, name, manifest, evidence);
  if (policy.RuleFor(name).WantsAttachments()) {
    image::FoundSignatures attached = fetcher.FetchAttachments(manifest);
    for (std::string& signature : attached.signatures) evidence.Add(std::move(signature));
    evidence.looked_at.insert(evidence.looked_at.end(), attached.looked_at.begin(), attached.looked_at.end());
  }
  return evidence;
}

std::optional<int64_t> NewestAccepted(const image::Store& store, const std::string& name, const sign::Judged& image,
                                      const sign::Policy& policy) {
  const std::string reference = sign::Verifier::ReferenceOf(image, {});
  if (const auto noted = store.NewestAccepted(reference))
    return noted;
  const auto found = store.Resolve(name);
  if (!found)
    return std::nullopt;
  const image::Fetched stored = store.LoadAny(*found);
  sign::Evidence evidence;
  for (const std::string& signature : store.Signatures(sign::Judged(stored).descriptor().digest))
    evidence.Add(signature);
  if (const auto* loaded = std::get_if<image::FetchedImage>(&stored))
    evidence.identity = [&store, loaded] { return image::FindIdentity(loaded->image(), store, &store).digest; };
  const auto accepted = sign::Verifier::Decide(stored, policy, evidence).accepted;
  return accepted && accepted->reference == reference ? std::optional(accepted->signed_at) : std::nullopt;
}

}  // namespace gantry::tools
