#include "libimage/transport/fetch_tree.h"

#include <set>
#include <string>
#include <utility>
#include <variant>

#include "libimage/base/error.h"
#include "libimage/model/image_tree.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

class TreeFetch {
 public:
  TreeFetch(RegistryClient& registry, DockerReference name, Store& store, Lease& lease)
      : registry_(registry), name_(std::move(name)), store_(store), lease_(lease) {}

  FetchedTree Run(const std::vector<Platform>& platforms) {
    RawManifest raw = registry_.GetManifest(name_);
    const ManifestOrIndex document = ParseManifest(raw.bytes, raw.content_type);
    const std::string type = std::visit([](const auto& one) { return one.media_type; }, document);
    FetchedTree tree{{.media_type = type, .digest = raw.digest, .size = raw.bytes.size()}, {}};
    Keep(raw.digest, raw.bytes);
    Follow(document, platforms, 0);
    tree.blobs = std::move(blobs_);
    return tree;
  }

 private:
  void Follow(const ManifestOrIndex& document, const std::vector<Platform>& platforms, size_t depth) {
    if (const auto* manifest = std::get_if<Manifest>(&document))
      return FollowManifest(*manifest);
    if (depth > kMaxIndexDepth)
      throw Error(ErrorKind::kCorrupt, Quoted(name_.ToString()) + ": indexes are nested more than " +
                                           std::to_string(kMaxIndexDepth) + " deep");
    const auto& index = std::get<Index>(document);
    for (const auto& [number, wanted] : SelectEntries(index, platforms))
      FollowEntry(index.manifests[number], wanted, depth);
  }

  void FollowEntry(const Descriptor& entry, const std::vector<Platform>& platforms, size_t depth) {
    const TypeKind kind = KindOf(entry.media_type);
    if (kind != TypeKind::kManifest && kind != TypeKind::kIndex)
      return Want(entry);
    if (++documents_ > kMaxTreeNodes)
      throw Error(ErrorKind::kCorrupt,
                  Quoted(name_.ToString()) + " leads to more than " + std::to_string(kMaxTreeNodes) + " manifests");
    Follow(ParseManifest(Manifested(entry.digest), entry.media_type), platforms, depth + 1);
  }

  std::string Manifested(const Digest& digest) {
    lease_.Add({digest});
    if (store_.HasBlob(digest))
      return store_.ReadBlob(digest, kMaxManifestBytes);
    DockerReference pinned = name_;
    pinned.tag.clear();
    pinned.digest = digest;
    RawManifest raw = registry_.GetManifest(pinned);
    Keep(digest, raw.bytes);
    return std::move(raw.bytes);
  }

  void FollowManifest(const Manifest& manifest) {
    for (const Descriptor& layer : manifest.layers) Want(layer);
    if (manifest.IsArtifact())
      return Want(manifest.config);
    lease_.Add({manifest.config.digest});
    if (!store_.HasBlob(manifest.config.digest)) {
      Keep(manifest.config.digest,
           registry_.GetBlob(manifest.config, kMaxConfigBytes, "configuration of " + Quoted(name_.ToString())));
    }
  }

  void Want(const Descriptor& blob) {
    lease_.Add({blob.digest});
    if (wanted_.insert(blob.digest).second)
      blobs_.push_back(blob);
  }

  void Keep(const Digest& digest, const std::string& bytes) {
    total_ += bytes.size();
    if (total_ > kMaxTreeBytes)
      throw Error(ErrorKind::kCorrupt, Quoted(name_.ToString()) + ": manifests and configurations are over " +
                                           std::to_string(kMaxTreeBytes) + " bytes together");
    lease_.Add({digest});
    if (store_.HasBlob(digest))
      return;
    const std::unique_ptr<IncomingBlob> blob = store_.AddBlob(digest, bytes.size());
    blob->Write(AsBytes(bytes));
    blob->Finish();
  }

  RegistryClient& registry_;
  const DockerReference name_;
  Store& store_;
  Lease& lease_;
  std::set<Digest> wanted_;
  std::vector<Descriptor> blobs_;
  size_t documents_ = 0;
  uint64_t total_ = 0;
};

}  // namespace

FetchedTree FetchTreeDocuments(RegistryClient& registry, const DockerReference& name,
                               const std::vector<Platform>& platforms, Store& store, Lease& lease) {
  return TreeFetch(registry, name, store, lease).Run(platforms);
}

}  // namespace gantry::image
