#include "libimage/transport/fetch_tree.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "libimage/base/error.h"
#include "libimage/model/image_tree.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/index_document.h"
#include "libimage/transport/referrers.h"

namespace gantry::image {
namespace {

class StoreKeeper : public DocumentKeeper {
 public:
  StoreKeeper(Store& store, Lease& lease) : store_(store), lease_(lease) {}

  void Expect(const Digest& digest) override { lease_.Add({digest}); }
  bool Has(const Digest& digest) const override { return store_.HasBlob(digest); }
  std::string Read(const Digest& digest, size_t max_bytes) const override { return store_.ReadBlob(digest, max_bytes); }
  void Keep(const Digest& digest, const std::string& bytes) override {
    const std::unique_ptr<IncomingBlob> blob = store_.AddBlob(digest, bytes.size());
    blob->Write(AsBytes(bytes));
    blob->Finish();
  }

 private:
  Store& store_;
  Lease& lease_;
};

class TreeFetch {
 public:
  TreeFetch(RegistryClient& registry, DockerReference name, DocumentKeeper& keeper)
      : registry_(registry), name_(std::move(name)), keeper_(keeper) {}

  FetchedTree Run(const std::vector<Platform>& platforms) {
    RawManifest raw = registry_.GetManifest(name_);
    const ManifestOrIndex document = ParseManifest(raw.bytes, raw.content_type);
    const std::string type = std::visit([](const auto& one) { return one.media_type; }, document);
    FetchedTree tree{{.media_type = type, .digest = raw.digest, .size = raw.bytes.size()}, {}, {}};
    manifests_.push_back(tree.top);
    Keep(raw.digest, raw.bytes);
    Follow(document, platforms, 0);
    tree.blobs = std::move(blobs_);
    tree.manifests = std::move(manifests_);
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
    manifests_.push_back(entry);
    Follow(ParseManifest(Manifested(entry.digest), entry.media_type), platforms, depth + 1);
  }

  std::string Manifested(const Digest& digest) {
    keeper_.Expect(digest);
    if (keeper_.Has(digest))
      return keeper_.Read(digest, kMaxManifestBytes);
    DockerReference pinned = name_;
    pinned.tag.clear();
    pinned.digest = digest;
    RawManifest raw = registry_.GetManifest(pinned);
    Keep(digest, raw.bytes);
    return std::move(raw.bytes);
  }

  void FollowManifest(const Manifest& manifest) {
    if (manifest.IsArtifact()) {
      for (const Descriptor& blob : manifest.Blobs()) Want(blob);
      return;
    }
    for (const Descriptor& layer : manifest.layers) Want(layer);
    keeper_.Expect(manifest.config.digest);
    if (!keeper_.Has(manifest.config.digest)) {
      Keep(manifest.config.digest,
           registry_.GetBlob(manifest.config, kMaxConfigBytes, "configuration of " + Quoted(name_.ToString())));
    }
  }

  void Want(const Descriptor& blob) {
    keeper_.Expect(blob.digest);
    if (wanted_.insert(blob.digest).second)
      blobs_.push_back(blob);
  }

  void Keep(const Digest& digest, const std::string& bytes) {
    total_ += bytes.size();
    if (total_ > kMaxTreeBytes)
      throw Error(ErrorKind::kCorrupt, Quoted(name_.ToString()) + ": manifests and configurations are over " +
                                           std::to_string(kMaxTreeBytes) + " bytes together");
    keeper_.Expect(digest);
    if (!keeper_.Has(digest))
      keeper_.Keep(digest, bytes);
  }

  RegistryClient& registry_;
  const DockerReference name_;
  DocumentKeeper& keeper_;
  std::set<Digest> wanted_;
  std::vector<Descriptor> blobs_;
  std::vector<Descriptor> manifests_;
  size_t documents_ = 0;
  uint64_t total_ = 0;
};

// What refers to some manifests, level by level.
class ReferrersFetch {
 public:
  ReferrersFetch(RegistryClient& registry, DockerReference name, Store& store, Lease& lease)
      : registry_(registry), name_(std::move(name)), store_(store), keeper_(store, lease) {
    name_.tag.clear();
  }

  void Run(std::vector<Digest> subjects, Progress& progress) {
    WalkReferrers(registry_, name_, std::move(subjects),
                  [this](const DockerReference& name, const Digest& subject, const std::string& tag) {
                    return Take(name, subject, tag);
                  });
    registry_.FetchBlobs(blobs_, store_, progress);
    for (const auto& [subject, referrers] : found_) store_.SetReferrers(subject, referrers);
  }

 private:
  std::optional<Digest> Take(const DockerReference& name, const Digest& subject, const std::string& tag) {
    const FetchedTree tree = TreeFetch(registry_, name, keeper_).Run({});
    const std::string bytes = store_.ReadBlob(tree.top.digest, kMaxManifestBytes);
    const std::optional<Referrer> referrer = ReferrerOf(bytes, tree.top);
    if (tag.empty() && (!referrer || referrer->subject != subject))
      return std::nullopt;  // the list says so, the manifest does not
    Descriptor entry = referrer ? referrer->entry : tree.top;
    if (!tag.empty())
      entry.annotations[std::string(kRefNameAnnotation)] = tag;
    found_[subject].push_back(std::move(entry));
    blobs_.insert(blobs_.end(), tree.blobs.begin(), tree.blobs.end());
    return tree.top.digest;
  }

  RegistryClient& registry_;
  DockerReference name_;
  Store& store_;
  StoreKeeper keeper_;
  std::vector<Descriptor> blobs_;
  std::map<Digest, std::vector<Descriptor>> found_;
};

}  // namespace

void FetchReferrers(RegistryClient& registry, const DockerReference& name, const std::vector<Digest>& subjects,
                    Store& store, Lease& lease, Progress& progress) {
  ReferrersFetch(registry, name, store, lease).Run(subjects, progress);
}

FetchedTree FetchTreeDocuments(RegistryClient& registry, const DockerReference& name,
                               const std::vector<Platform>& platforms, Store& store, Lease& lease) {
  StoreKeeper keeper(store, lease);
  return FetchTreeDocuments(registry, name, platforms, keeper);
}

FetchedTree FetchTreeDocuments(RegistryClient& registry, const DockerReference& name,
                               const std::vector<Platform>& platforms, DocumentKeeper& keeper) {
  return TreeFetch(registry, name, keeper).Run(platforms);
}

}  // namespace gantry::image
