#include "libimage/convert/from_aci.h"

#include <algorithm>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/path_text.h"
#include "libimage/convert/appc_to_docker.h"
#include "libimage/layer/listing.h"
#include "libimage/layer/rootfs_digest.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/oci_layout_files.h"

namespace gantry::image {
namespace {

struct Layer {
  Digest digest;
  uint64_t size;
};

// One pass more where whitelists leave something out; else the digest is known since the file was checked.
Layer Measure(const StackedAci& aci) {
  if (aci.only.empty())
    return {aci.file->layer_digest(), aci.file->layer_bytes()};
  Hasher hasher;
  uint64_t size = 0;
  const auto tar = aci.file->OpenLayer(aci.only);
  for (Block block = tar->Next(); !block.empty(); block = tar->Next()) {
    hasher.Update(block.bytes());
    size += block.size();
  }
  return {hasher.Finish(), size};
}

// What does not say which files make up the tree.
AciManifest WithoutFiles(AciManifest manifest) {
  manifest.dependencies.clear();
  manifest.path_whitelist.clear();
  return manifest;
}

// Blobs in a directory, as those of an OCI layout.
class BlobsBeside : public Blobs {
 public:
  explicit BlobsBeside(const std::string& directory) : root_(LayoutIn(Dir::Open(directory))) {}

  bool Has(const Descriptor& blob) const { return root_->Open(BlobPath(blob.digest), "a layer") != nullptr; }

  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override {
    auto source = root_->Open(BlobPath(blob.digest), std::string(what));
    if (source == nullptr)
      throw Error(ErrorKind::kNotFound,
                  std::string(what) + ": no blob " + blob.digest.str() + " in " + Quoted(root_->name()));
    return VerifyingSource(std::move(source), blob.digest, blob.size, std::string(what));
  }

 private:
  std::unique_ptr<LayoutRoot> root_;
};

}  // namespace

std::unique_ptr<AciImage> AciImage::Open(const std::string& path, const std::vector<std::string>& dependencies,
                                         const Platform& otherwise) {
  std::unique_ptr<AciImage> out(new AciImage);
  std::vector<StackedAci> stack = OpenAciStack(path, dependencies);
  const std::shared_ptr<const AciFile> top = stack.back().file;
  out->naming_ = AciNaming::Of(top->manifest());
  try {
    out->TakeStack(std::move(stack), otherwise);
    out->TakeOriginal(DirectoryOf(path), top->manifest());
  } catch (const Error& error) {
    throw error.WithContext(Quoted(path));
  }
  return out;
}

void AciImage::TakeStack(std::vector<StackedAci> stack, const Platform& otherwise) {
  const std::shared_ptr<const AciFile> top = stack.back().file;
  std::vector<Descriptor> layers;
  std::vector<AciLayer> made;
  for (StackedAci& aci : stack) {
    const Layer layer = Measure(aci);
    layers.push_back({.media_type = std::string(kOciLayerType), .digest = layer.digest, .size = layer.size});
    const AciManifest& from = aci.file->manifest();
    const std::string* const created = FindPair(from.annotations, "created");
    made.push_back({layer.digest, from.name, created == nullptr ? std::string() : *created});
    files_.push_back(aci.file);
    layers_.emplace(layer.digest, std::move(aci));
  }
  DockerConfig config = ToDockerConfig(top->manifest(), made, otherwise);
  for (const std::string& lost : config.lost) notes_.push_back("only an ACI can have: " + lost);
  Manifest manifest{.media_type = std::string(kOciManifestType),
                    .config = {.media_type = std::string(kOciConfigType),
                               .digest = Digest::Of(config.bytes),
                               .size = config.bytes.size()},
                    .layers = std::move(layers)};
  const std::string kept = WithoutFiles(top->manifest()).ToJson();
  if (FindPair(top->manifest().annotations, kConfigAnnotation) == nullptr && kept.size() <= json::kMaxStringBytes)
    manifest.annotations.emplace(kAciAnnotation, kept);
  image_ = Image::FromBytes(manifest.ToJson(), kOciManifestType, std::move(config.bytes));
}

void AciImage::TakeOriginal(const std::string& directory, const AciManifest& manifest) {
  const std::string* const bytes = FindPair(manifest.annotations, kManifestAnnotation);
  const std::string* const config = FindPair(manifest.annotations, kConfigAnnotation);
  if (bytes == nullptr || config == nullptr)
    return;
  Image original = Image::FromBytes(*bytes, "", *config);
  auto beside = std::make_unique<BlobsBeside>(directory);
  const auto& layers = original.manifest.layers;
  if (!std::ranges::all_of(layers, [&](const Descriptor& layer) { return beside->Has(layer); })) {
    notes_.push_back(
        "the layers that the ACI was made of are not beside it: the digest is not that of the image before");
    return;
  }
  // The configuration was held against the app; so the layers are against the ACIs, which are what is looked at and
  // signed.
  if (RootfsDigest(ListTree(original, *beside)) != RootfsDigest(ListTree(*image_, *this))) {
    throw Error(ErrorKind::kCorrupt, "the layers in 'blobs' amount to another tree than the ACIs",
                "remove 'blobs' to use the ACIs as they are, if you trust them");
  }
  image_ = std::move(original);
  beside_ = std::move(beside);
}

std::unique_ptr<Source> AciImage::Open(const Descriptor& blob, std::string_view what) const {
  if (beside_)
    return beside_->Open(blob, what);
  if (const auto layer = layers_.find(blob.digest); layer != layers_.end()) {
    const auto& [file, only] = layer->second;
    return VerifyingSource(file->OpenLayer(only), blob.digest, blob.size, std::string(what));
  }
  if (blob.digest == image_->manifest.config.digest)
    return StringSource(image_->config_bytes);
  throw Error(ErrorKind::kNotFound, std::string(what) + ": no blob " + blob.digest.str() + " is in the ACI");
}

}  // namespace gantry::image
