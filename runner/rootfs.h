// From a verified image to the directories that overlayfs stacks.
//
// Each layer is rendered once and kept in the store, shared by all images that have it; a layer that depends on those
// below it (it implies directories, or links to their files) is kept for this chain of layers alone. Rendering happens
// in a forked child without network, with only the store to write to, and with no more capabilities than files need;
// without root, as root of a user namespace.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/progress.h"
#include "libimage/confine/confine.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/store/store.h"
#include "runner/userns.h"

namespace gantry::runner {

// What a container's root is made of.
struct Rootfs {
  std::vector<std::string> layers;  // absolute directories, the topmost first; at most kMaxOverlayLayers
  bool user_xattrs = false;         // whiteouts are marked in user.overlay.*, as a user namespace needs
  // Where changes go, and overlayfs's work directory beside it, both absolute and empty; empty: the pod's.
  std::string upper, work;
};

// Unpacks the layers, none of which has its name yet. Called once more, it throws away what it made before.
using UnpackFrom = std::function<void(const image::Blobs& layers, Progress& progress)>;

// How the child renders that is forked when a layer is missing.
struct Rendering {
  // Called there, confined: opens what the layers come from, calls `unpack`, and returns when all that it read was
  // checked. When that turns out to have been wrong, and what is right is here now, it calls `unpack` again.
  std::function<void(const UnpackFrom& unpack)> open;
  image::Confinement keep;  // RendererConfinement, and what `open` reads
  bool identity = false;    // learn the image's on the way, where every layer is missing and the store knows it not
};

// What is kept for rendering into the store at `root`.
image::Confinement RendererConfinement(const std::string& root);

// The root of layers that are rendered; kNotFound when one is not there.
Rootfs FindRootfs(const std::vector<Digest>& diff_ids, const image::Store& store, const std::optional<IdMap>& map);

// Renders what is missing of `image`, whose diff IDs a Pod or a lease of the caller keeps from being collected. For
// single-threaded callers. kCorrupt for a layer that is not what its digest or format says.
Rootfs Render(const image::VerifiedImage& image, image::Store& store, const std::optional<IdMap>& map,
              const Rendering& how);

}  // namespace gantry::runner
