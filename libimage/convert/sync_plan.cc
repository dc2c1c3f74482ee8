#include "libimage/convert/sync_plan.h"

#include <utility>

#include "libimage/base/error.h"
#include "libimage/convert/copy_tree.h"
#include "libimage/model/image_sink.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

// Keeps manifests, and of blobs what they are called: their bytes are elsewhere.
class ListingSink : public ImageSink {
 public:
  Form form() const override { return {}; }

  void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) override {
    const TypeKind kind = KindOf(blob.media_type);
    if (kind == TypeKind::kManifest || kind == TypeKind::kIndex)
      copy_.manifests.push_back({blob, Drain(*from, kMaxManifestBytes, what)});
    else
      copy_.blobs.push_back(blob);
  }
  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) override {
    throw Error(ErrorKind::kUnsupported, std::string(what) + ": a sync copies and makes nothing");
  }
  void Name(const Descriptor&, const std::string&) override {}
  void Commit() override {}

  SyncCopy Take() { return std::move(copy_); }

 private:
  SyncCopy copy_;
};

}  // namespace

SyncCopy PlanSync(const SyncOffer& offer, const std::vector<Platform>& platforms, const DockerReference& name,
                  const VerifyImage& verify, const VerifyArtifact& verify_artifact) {
  const ImageTree tree = LoadTree(offer, offer.top(), platforms, name, verify, verify_artifact);
  ListingSink sink;
  const CopyOptions options{.preserve_digests = tree.whole, .threads = 1};
  if (const std::vector<const VerifiedImage*> images = ImagesOf(tree); platforms.size() == 1 && !images.empty()) {
    Conversion::Copy(*images.front(), offer, sink, options);
    return sink.Take();
  }
  CopyTree(tree, offer, sink, options,
           [&](const VerifiedImage& image) { return Conversion::Copy(image, offer, sink, options); });
  return sink.Take();
}

}  // namespace gantry::image
