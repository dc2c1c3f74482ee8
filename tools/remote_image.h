// An image in a registry that is only to be looked at: a gantry-fetch, which is a child and has the network, brings its
// documents and its signatures here, and its layers into the store if it comes to that.
#pragma once

#include <optional>
#include <string>

#include "libimage/model/image.h"
#include "libimage/model/reference.h"
#include "libimage/store/store.h"
#include "libimage/transport/fetcher.h"
#include "libsign/evidence.h"
#include "libsign/judged.h"
#include "libsign/policy.h"
#include "libsign/registries_d.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {

class RemoteImage {
 public:
  // Starts the child: call before Confine. `platform` as on the command line; `registries` is the value of
  // --registries.d.
  static RemoteImage Ask(const image::DockerReference& name, const std::string& platform, const std::string& registries,
                         const PolicyOptions& policy, const CommonOptions& common);

  // Waits for the documents. `as` is the name to judge it under, nullopt for its own.
  const image::Fetched& fetched(const std::optional<image::DockerReference>& as = std::nullopt);
  // The same; kUnsupported for an artifact.
  const image::FetchedImage& image(const std::optional<image::DockerReference>& as = std::nullopt);

  // What speaks for the image under its name: in lookasides and, where `policy` asks for such, in the repository. Can
  // compute the image's identity, for which the layers are fetched, as long as this object stays where it is.
  sign::Evidence Gather(const sign::Policy& policy, const sign::RegistriesD& registries);

  // gantry-identity(5). Fetches the layers.
  Digest ComputeIdentity();

  // For callers that want the image itself. Before all else: what a manifest of schema 1 becomes goes into `store`,
  // which is borrowed (Fetcher::Receive).
  RemoteImage& KeepIn(image::Store& store);
  // Brings the layers into the store, once, and lets go of them when they have a name or are not needed any more.
  void FetchBlobs();
  void Release() { fetcher_.Release(); }

 private:
  RemoteImage(image::Fetcher fetcher, std::string root) : fetcher_(std::move(fetcher)), root_(std::move(root)) {}

  image::Fetcher fetcher_;
  std::string root_;  // of the store that layers go to
  image::Store* store_ = nullptr;
  bool fetched_ = false;
  std::optional<image::Offer> offer_;  // once it has come
};

// The same child for all that the name leads to: Fetcher::ReceiveTop. Call before Confine.
image::Fetcher AskForAll(const image::DockerReference& name, const std::string& registries, const PolicyOptions& policy,
                         const CommonOptions& common);

// What lookasides hold and, where `policy` asks for such, the repository; `signatures` and `looked_at` were found
// before.
sign::Evidence GatherRemote(image::Fetcher& fetcher, const image::DockerReference& name, const Digest& manifest,
                            const sign::Policy& policy, const sign::RegistriesD& registries,
                            const image::FoundSignatures& found);

// When the signature was made that counts for what was last accepted as `image`: as the store notes it, else by what it
// has under `name` now, which may have come before anybody asked.
std::optional<int64_t> NewestAccepted(const image::Store& store, const std::string& name, const sign::Judged& image,
                                      const sign::Policy& policy);

}  // namespace gantry::tools
