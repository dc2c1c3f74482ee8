#include "libimage/convert/copy_referrers.h"

#include <set>
#include <string>

#include "libimage/base/error.h"
#include "libimage/convert/copy_tree.h"
#include "libimage/model/manifest.h"
#include "libimage/model/media_type.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/store/index_document.h"

namespace gantry::image {
namespace {

class ReferrersCopy {
 public:
  ReferrersCopy(const ReferrersOf& referrers, const Blobs& blobs, ImageSink& sink)
      : referrers_(referrers), blobs_(blobs), sink_(sink) {}

  size_t Run(std::vector<Digest> subjects) {
    while (!subjects.empty()) {
      std::vector<Digest> next;
      for (const Digest& subject : subjects) {
        for (const Descriptor& referrer : referrers_(subject)) Take(referrer, next);
      }
      subjects = std::move(next);
    }
    return done_.size();
  }

 private:
  void Take(const Descriptor& referrer, std::vector<Digest>& next) {
    const bool known = done_.contains(referrer.digest);
    if (!known)
      Add(referrer, 0);
    const auto tag = referrer.annotations.find(std::string(kRefNameAnnotation));
    if (tag != referrer.annotations.end() && SubjectOfTag(tag->second))
      sink_.Name(referrer, tag->second);
    if (!known)
      next.push_back(referrer.digest);
  }

  // What a manifest names goes before it.
  void Add(const Descriptor& manifest, size_t depth) {
    if (!done_.insert(manifest.digest).second)
      return;
    if (done_.size() > kMaxReferrers || depth > kMaxIndexDepth)
      throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxReferrers) + " referrers of one image");
    const std::string what = "referrer " + manifest.digest.str();
    const std::string bytes = Drain(*blobs_.Open(manifest, what), kMaxManifestBytes, what);
    const ManifestOrIndex document = ParseManifest(bytes, manifest.media_type);
    if (const auto* index = std::get_if<Index>(&document)) {
      for (const Descriptor& child : index->manifests) AddChild(child, depth + 1);
    } else {
      CopyBlobsAsTheyAre(std::get<Manifest>(document), blobs_, sink_);
    }
    sink_.AddBlob(manifest, StringSource(bytes), what);
  }

  void AddChild(const Descriptor& child, size_t depth) {
    const TypeKind kind = KindOf(child.media_type);
    if (kind == TypeKind::kManifest || kind == TypeKind::kIndex)
      Add(child, depth);
    else
      AddBlob(child);
  }

  void AddBlob(const Descriptor& blob) {
    const std::string what = "blob " + blob.digest.str();
    sink_.AddBlob(blob, blobs_.Open(blob, what), what);
  }

  const ReferrersOf& referrers_;
  const Blobs& blobs_;
  ImageSink& sink_;
  std::set<Digest> done_;
};

}  // namespace

size_t CopyReferrers(const ReferrersOf& referrers, const std::vector<Digest>& subjects, const Blobs& blobs,
                     ImageSink& sink) {
  return ReferrersCopy(referrers, blobs, sink).Run(subjects);
}

}  // namespace gantry::image
