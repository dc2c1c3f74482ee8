// One image into one sink: every layer copied or recompressed, and a manifest over what came out.
#include <algorithm>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/convert/chosen_form.h"
#include "libimage/convert/convert.h"
#include "libimage/convert/copy_layers.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

// Why the manifest cannot stay as it is; empty when it can.
std::string WhyChanged(const Image& image, const CopyPlan& plan) {
  if (plan.manifest_type != image.manifest.media_type)
    return "it would become " + std::string(NameOfManifest(plan.manifest_type));
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    if (plan.Recompresses(image.manifest.layers[i]))
      return LayerName(image, i) + " would be recompressed";
  }
  return {};
}

bool HasZstd(const Image& image, const CopyPlan& plan) {
  return std::any_of(image.manifest.layers.begin(), image.manifest.layers.end(), [&](const Descriptor& layer) {
    return plan.layers.value_or(*LayerCompression(layer.media_type)) == Compression::kZstd;
  });
}

CopyPlan MakePlan(const Image& image, const ImageSink::Form& form, const CopyOptions& options) {
  CopyPlan plan{ChosenManifestType(image, form, options), ChosenCompression(form, options)};
  const std::string why = WhyChanged(image, plan);
  if (!why.empty() && options.preserve_digests) {
    throw Error(ErrorKind::kUnsupported,
                "the digest of manifest " + image.descriptor.digest.str() + " cannot be preserved: " + why,
                "leave out --preserve-digests, or choose a destination that holds the image as it is");
  }
  // One that came so may go so.
  if (!why.empty() && plan.manifest_type == kDockerManifestType && HasZstd(image, plan))
    ThrowZstdInDocker();
  return plan;
}

class ImageCopy {
 public:
  ImageCopy(const Image& image, const Blobs& blobs, ImageSink& sink, const CopyOptions& options)
      : image_(image),
        watched_(blobs, image, options.progress, "copy"),
        sink_(sink),
        options_(options),
        plan_(MakePlan(image, sink.form(), options)) {}

  Image Run() {
    layers_ = CopyLayers(image_, watched_, sink_, plan_, options_);
    sink_.AddBlob(image_.manifest.config, StringSource(image_.config_bytes), "the configuration");
    Image out = WhyChanged(image_, plan_).empty() ? image_ : Rewritten();
    sink_.AddBlob(out.descriptor, StringSource(out.manifest_bytes), "the manifest");
    watched_.End();
    return out;
  }

 private:
  Image Rewritten() {
    Manifest manifest = image_.manifest;
    manifest.layers = layers_;
    manifest.media_type = plan_.manifest_type;
    const bool docker = manifest.media_type == kDockerManifestType;
    manifest.config.media_type = docker ? kDockerConfigType : kOciConfigType;
    for (Descriptor& layer : manifest.layers) {
      layer.media_type =
          LayerType(manifest.media_type, *LayerCompression(layer.media_type), IsForeignLayer(layer.media_type));
    }
    if (docker)
      DropWhatDockerLacks(manifest);
    return Image::FromBytes(manifest.ToJson(), manifest.media_type, image_.config_bytes);
  }

  void DropWhatDockerLacks(Manifest& manifest) const {
    bool annotated = !std::exchange(manifest.annotations, {}).empty();
    annotated |= !std::exchange(manifest.config.annotations, {}).empty();
    for (Descriptor& layer : manifest.layers) annotated |= !std::exchange(layer.annotations, {}).empty();
    if (annotated)
      Note("a Docker manifest has no annotations: those of the image are dropped");
    if (std::exchange(manifest.subject, std::nullopt))
      Note("a Docker manifest refers to no other: the image's subject is dropped");
  }

  void Note(const std::string& text) const {
    if (options_.note)
      options_.note(text);
  }

  const Image& image_;
  const ProgressBlobs watched_;
  ImageSink& sink_;
  const CopyOptions& options_;
  const CopyPlan plan_;
  std::vector<Descriptor> layers_;  // as they are at the destination, once they are there
};

}  // namespace

VerifiedImage Conversion::Copy(const VerifiedImage& image, const Blobs& blobs, ImageSink& sink,
                               const CopyOptions& options) {
  VerifiedImage copied = Carry(image, ImageCopy(image.image(), blobs, sink, options).Run());
  sink.Vouch(copied);
  if (options.rootfs) {
    sink.KeepRootfs(copied.image().descriptor.digest, *options.rootfs);
    if (options.identified)
      options.identified(Identity::Of(copied.image().config, *options.rootfs));
  }
  return copied;
}

VerifiedImage Conversion::Carry(const VerifiedImage& source, Image made) {
  const Digest& from = source.image().descriptor.digest;
  if (made.descriptor.digest == from)
    return source;
  return {FetchedImage(std::move(made), source.name()), source.vouched_by() + "; converted from " + from.str()};
}

}  // namespace gantry::image
