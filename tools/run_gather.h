// From the names of images to what a pod is made of: fetched where they are missing, judged by the policy, and planned.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/confine/confine.h"
#include "libimage/model/reference.h"
#include "libimage/store/store.h"
#include "libsign/verify.h"
#include "runner/pod.h"
#include "runner/rootfs.h"
#include "tools/arriving_blobs.h"
#include "tools/local_image.h"
#include "tools/run_pod.h"

namespace gantry::tools {

// What decides about images.
struct Judge {
  sign::Policy policy;
  sign::RegistriesD registries = sign::RegistriesD::Load();
};

// What stays allowed to the process that decides.
image::Confinement Kept(const Judge& judge, const image::Reference& image, const std::string& root);

// What the process that decides has found.
struct Decided {
  image::VerifiedImage image;
  std::string image_id;             // that appc gives it, if that was asked for
  sign::Verifier::Pending decider;  // is about to end: that can be waited for later
};

// By the process that decides, and this one does `meanwhile`; nullopt for an image that has to be fetched first.
// `with_id` reads all of an ACI once more; of other images the ID is that of their manifest.
std::optional<Decided> Verify(
    const PodOptions& options, const LocalName& name, const Judge& judge, const image::Store& store, bool with_id,
    const std::function<void()>& meanwhile = [] {});

// One image of a pod on its way.
struct Gathered {
  image::Reference reference;
  image::VerifiedImage image;
  std::shared_ptr<Fetching> fetching = nullptr;  // where its layers still come
};

// The pod in the making.
struct Gathering {
  std::shared_ptr<image::Store> store;
  bool identities = false;                                // the policy may ask for them
  std::unique_ptr<Held> held = std::make_unique<Held>();  // until Render where a gantry-fetch draws
  std::vector<Gathered> images;
  std::vector<sign::Verifier::Pending> deciders;  // until Render, or until another process takes over
  runner::PodPlan plan;
  std::shared_ptr<Fetching> storing = nullptr;  // what it has brought is checked and rendered, but may have no name yet

  // With what it is told about itself, if so planned.
  runner::Pod Described(runner::Pod pod) const;

  // Roots for all images, in a process of its own for what is not rendered yet. What still comes is here then, was
  // checked, and has its name in the store; throws ChildFailed when it could not be brought.
  std::vector<runner::Rootfs> Render(const PodOptions& options, const std::optional<runner::IdMap>& map);
  // The same for what is executed at once: it may have no name yet, and Settle is to be called in the end.
  std::vector<runner::Rootfs> RenderChecked(const PodOptions& options, const std::optional<runner::IdMap>& map);

  // Until what came is on the disk and has its name. What was executed was as good without: a failure is only told.
  void Settle();
};

// Of the last image layers may still come until Render, if its pod is not detached and no identity is asked for.
// What an app asks for and does not get is told, or with --strict refused. `meanwhile` is done once, while a process
// decides about the first image and this one has nothing else left to do. `with_ids`: with the image IDs of appc, also
// where no pod manifest wants them.
Gathering Gather(const PodOptions& options, const std::vector<NamedApp>& apps, bool with_ids,
                 const std::function<void()>& meanwhile);

}  // namespace gantry::tools
