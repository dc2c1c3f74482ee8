#include "tools/signed_image.h"

#include <ctime>
#include <memory>
#include <set>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/model/image_tree.h"
#include "libimage/model/manifest.h"
#include "libimage/model/media_type.h"
#include "libimage/store/store.h"
#include "libsign/signature_files.h"
#include "tools/publish.h"

namespace gantry::tools {
namespace {

// The directory that signatures of `name` are written to.
std::string WritableLookaside(const sign::RegistriesD& registries, const image::DockerReference& name) {
  const std::string base = registries.StagingFor(name).value();
  const auto directory = sign::LookasideDirectory(base);
  if (!directory) {
    throw Error(ErrorKind::kUsage, "the lookaside of " + Quoted(name.ToString()) + " is " + base + ", which only reads",
                "give --lookaside DIR and publish it there, or set lookaside-staging in registries.d");
  }
  return *directory;
}

// The walk of ReceiveSubjects.
class Subjects {
 public:
  Subjects(const image::Store& store, const image::DockerReference& name, bool identity)
      : store_(store), name_(name), identity_(identity) {}

  void Add(const image::Descriptor& manifest, size_t depth = 0) {
    if (depth > image::kMaxIndexDepth || seen_.size() > image::kMaxTreeNodes)
      throw Error(ErrorKind::kCorrupt, "the index of " + Quoted(name_.ToString()) + " leads too far");
    if (!seen_.insert(manifest.digest).second)
      return;
    const auto document =
        image::ParseManifest(store_.ReadBlob(manifest.digest, image::kMaxManifestBytes), manifest.media_type);
    const auto* index = std::get_if<image::Index>(&document);
    if (index == nullptr && std::get<image::Manifest>(document).IsArtifact())
      return AddArtifact(manifest, std::get<image::Manifest>(document));
    images_ = images_ || index == nullptr;
    SigningSubject subject{name_, manifest.digest, manifest};
    if (identity_ && index == nullptr) {
      const image::FetchedImage loaded = store_.Load({name_.ToString(), manifest});
      subject.identity = image::FindIdentity(loaded.image(), store_, &store_).digest;
    }
    found_.push_back(std::move(subject));
    if (index != nullptr) {
      for (const image::Descriptor& entry : index->manifests) {
        const image::TypeKind kind = image::KindOf(entry.media_type);
        if (kind == image::TypeKind::kManifest || kind == image::TypeKind::kIndex)
          Add(entry, depth + 1);
      }
    }
  }

  std::vector<SigningSubject> Take() {
    if (identity_ && !images_ && artifact_)
      image::ThrowNotAnImage("manifest " + artifact_->first.str() + " of " + Quoted(name_.ToString()),
                             artifact_->second);
    if (!images_)
      found_.insert(found_.end(), attestations_.begin(), attestations_.end());
    return std::move(found_);
  }

 private:
  void AddArtifact(const image::Descriptor& manifest, const image::Manifest& artifact) {
    if (!artifact_)
      artifact_.emplace(manifest.digest, artifact);
    auto& list = image::GoesUnasked(manifest, artifact) ? attestations_ : found_;
    list.push_back({name_, manifest.digest, manifest});
  }

  const image::Store& store_;
  const image::DockerReference& name_;
  const bool identity_;
  std::set<Digest> seen_;
  std::vector<SigningSubject> found_;
  std::vector<SigningSubject> attestations_;
  std::optional<std::pair<Digest, image::Manifest>> artifact_;  // the first
  bool images_ = false;
};

}  // namespace

std::vector<SigningSubject> ReceiveSubjects(image::Fetcher& fetcher, const image::DockerReference& name,
                                            const std::string& store_root, bool identity) {
  const image::Descriptor top = fetcher.ReceiveTop();
  if (identity)
    fetcher.FetchBlobs();
  const std::unique_ptr<image::Store> store = image::Store::OpenReadOnly(store_root);
  Subjects subjects(*store, name, identity);
  subjects.Add(top);
  return subjects.Take();
}

sign::SignedImage SigningSubject::WithName(const std::string& shown, const std::string& creator) const {
  if (!name) {
    throw Error(ErrorKind::kUsage, Quoted(shown) + " has no registry name that a signature could carry",
                "add --as docker://NAME:TAG");
  }
  return {*name, manifest, identity, creator, std::time(nullptr)};
}

std::string SigningPlaces::IntoLookaside(const SigningSubject& subject, const std::string& stored) const {
  if (!subject.name) {
    throw Error(ErrorKind::kUsage, "a lookaside goes by the registry name of the image, and it has none",
                "add --as docker://NAME:TAG");
  }
  const std::string directory = lookaside_.empty() ? WritableLookaside(registries_, *subject.name) : lookaside_;
  return sign::AppendLookaside(directory, *subject.name, subject.manifest, stored);
}

void SigningPlaces::IntoStore(const SigningSubject& subject, const std::string& stored) const {
  if (subject.in_store)
    image::Store::Open(store_root_)->AddSignature(subject.manifest, stored);
}

std::string SigningPlaces::KeepOpenPgp(const SigningSubject& subject, const std::string& message) const {
  std::string place = IntoLookaside(subject, message);
  IntoStore(subject, message);
  return place;
}

std::string SigningPlaces::Keep(const SigningSubject& subject, const image::Attachment& attachment) const {
  const std::string stored = attachment.ToStored();
  std::string place;
  if (!lookaside_.empty()) {
    place = IntoLookaside(subject, stored);
  } else if (pusher_ != nullptr) {
    place = Publish(*pusher_, subject.descriptor.value(), attachment);
  } else if (!subject.layout.empty()) {
    place = sign::AppendToLayout(subject.layout, subject.manifest, stored);
  } else if (!subject.aci.empty() && attachment.media_type == image::kBundleType) {
    place = sign::AppendBundleBeside(subject.aci, attachment.payload);
  } else if (!subject.in_store) {
    throw Error(ErrorKind::kUsage, "there is no place for the signature beside this image", "give --lookaside DIR");
  }
  IntoStore(subject, stored);
  return place.empty() ? store_root_ + "/signatures" : place;
}

}  // namespace gantry::tools
