// All that a name in a registry leads to, an index with what it lists, into the store.
#pragma once

#include <vector>

#include "libimage/model/descriptor.h"
#include "libimage/store/store.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

struct FetchedTree {
  Descriptor top;                     // what the name stands for
  std::vector<Descriptor> blobs;      // of images and artifacts, which are still to be fetched
  std::vector<Descriptor> manifests;  // all that were followed, indexes too, each before what it lists
};

// Where documents are kept as they come.
class DocumentKeeper {
 public:
  virtual ~DocumentKeeper() = default;
  // Said before anything is looked up or kept, and of blobs that will come.
  virtual void Expect(const Digest& digest) = 0;
  virtual bool Has(const Digest& digest) const = 0;
  virtual std::string Read(const Digest& digest, size_t max_bytes) const = 0;
  virtual void Keep(const Digest& digest, const std::string& bytes) = 0;
};

// Manifests, indexes and configurations of what `platforms` select (image_tree.h) go into `store`, under `lease`, which
// covers the blobs, too. kNotFound for a platform that is not there; kCorrupt over the bounds of image_tree.h.
FetchedTree FetchTreeDocuments(RegistryClient& registry, const DockerReference& name,
                               const std::vector<Platform>& platforms, Store& store, Lease& lease);

FetchedTree FetchTreeDocuments(RegistryClient& registry, const DockerReference& name,
                               const std::vector<Platform>& platforms, DocumentKeeper& keeper);

// What refers to `subjects`, by the registry's lists or behind tags made of their digests, and what refers to that:
// kMaxReferrers manifests at most. Fetches it whole into `store`, under `lease`, and makes it the store's referrers of
// each. What is wrong with one is an error, for what speaks for an image must not silently be left behind.
void FetchReferrers(RegistryClient& registry, const DockerReference& name, const std::vector<Digest>& subjects,
                    Store& store, Lease& lease, Progress& progress);

}  // namespace gantry::image
