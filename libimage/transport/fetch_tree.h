// All that a name in a registry leads to, an index with what it lists, into the store.
#pragma once

#include <vector>

#include "libimage/model/descriptor.h"
#include "libimage/store/store.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

struct FetchedTree {
  Descriptor top;                 // what the name stands for
  std::vector<Descriptor> blobs;  // of images and artifacts, which are still to be fetched
};

// Manifests, indexes and configurations of what `platforms` select (image_tree.h) go into `store`, under `lease`, which
// covers the blobs, too. kNotFound for a platform that is not there; kCorrupt over the bounds of image_tree.h.
FetchedTree FetchTreeDocuments(RegistryClient& registry, const DockerReference& name,
                               const std::vector<Platform>& platforms, Store& store, Lease& lease);

}  // namespace gantry::image
