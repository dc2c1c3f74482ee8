// One image into one sink: every layer copied or recompressed, and a manifest over what came out.
#include <algorithm>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/workers.h"
#include "libimage/convert/chosen_form.h"
#include "libimage/convert/convert.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

// One recompression keeps about so many processors busy: inflating, hashing, deflating.
constexpr size_t kThreadsOfAJob = 4;
// Threads that deflate one layer; each holds a few MiB, and inflating does not keep up with more.
constexpr size_t kMaxDeflaters = 5;
// What recompressions may hold together, however many processors there are, and what one holds.
constexpr size_t kMemoryOfJobs = 48;  // MiB

size_t MemoryOfJob(Compression compression) {
  return compression == Compression::kZstd ? 40 : compression == Compression::kGzip ? 32 : 8;
}

// What the form of the sink and the options make of an image.
struct Plan {
  std::string manifest_type;
  std::optional<Compression> layers;  // nullopt: each as it is

  bool Recompresses(const Descriptor& layer) const { return layers && LayerCompression(layer.media_type) != *layers; }
};

// Why the manifest cannot stay as it is; empty when it can.
std::string WhyChanged(const Image& image, const Plan& plan) {
  if (plan.manifest_type != image.manifest.media_type)
    return "it would become " + std::string(NameOfManifest(plan.manifest_type));
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    if (plan.Recompresses(image.manifest.layers[i]))
      return LayerName(image, i) + " would be recompressed";
  }
  return {};
}

bool HasZstd(const Image& image, const Plan& plan) {
  return std::any_of(image.manifest.layers.begin(), image.manifest.layers.end(), [&](const Descriptor& layer) {
    return plan.layers.value_or(*LayerCompression(layer.media_type)) == Compression::kZstd;
  });
}

Plan MakePlan(const Image& image, const ImageSink::Form& form, const CopyOptions& options) {
  Plan plan{ChosenManifestType(image, form, options), ChosenCompression(form, options)};
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
        form_(sink.form()),
        options_(options),
        plan_(MakePlan(image, form_, options)),
        layers_(image.manifest.layers) {}

  Image Run() {
    CopyLayers();
    sink_.AddBlob(image_.manifest.config, StringSource(image_.config_bytes), "the configuration");
    Image out = WhyChanged(image_, plan_).empty() ? image_ : Rewritten();
    sink_.AddBlob(out.descriptor, StringSource(out.manifest_bytes), "the manifest");
    watched_.End();
    return out;
  }

 private:
  // Each layer once, for images repeat them; the largest first, so that none is left alone at the end.
  std::vector<size_t> Jobs() const {
    std::map<std::pair<Digest, Digest>, size_t> distinct;
    std::vector<size_t> jobs;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (distinct.emplace(std::pair(layers_[i].digest, image_.config.diff_ids[i]), i).second)
        jobs.push_back(i);
    }
    if (form_.parallel) {
      std::stable_sort(jobs.begin(), jobs.end(), [&](size_t a, size_t b) { return layers_[a].size > layers_[b].size; });
    }
    return jobs;
  }

  size_t ParallelJobs() const {
    if (!form_.parallel)
      return 1;
    const bool recompresses =
        std::any_of(layers_.begin(), layers_.end(), [&](const Descriptor& layer) { return plan_.Recompresses(layer); });
    if (!recompresses)
      return options_.threads;
    return std::min((options_.threads + kThreadsOfAJob - 1) / kThreadsOfAJob,
                    kMemoryOfJobs / MemoryOfJob(*plan_.layers));
  }

  void CopyLayers() {
    const std::vector<size_t> jobs = Jobs();
    std::vector<std::optional<Descriptor>> made(layers_.size());
    RunParallel(jobs.size(), ParallelJobs(), [&](size_t job) {
      const size_t i = jobs[job];
      if (plan_.Recompresses(image_.manifest.layers[i]))
        made[i] = Recompress(i);
      else
        CopyAsItIs(i);
    });
    std::map<Digest, Descriptor> recompressed;
    for (const size_t i : jobs) {
      if (made[i])
        recompressed.emplace(layers_[i].digest, *made[i]);
    }
    for (Descriptor& layer : layers_) {
      if (const auto found = recompressed.find(layer.digest); found != recompressed.end())
        layer = found->second;
    }
  }

  // The blob of a foreign layer may be nowhere but at its URLs.
  void CopyAsItIs(size_t i) {
    const Descriptor& layer = image_.manifest.layers[i];
    const std::string what = LayerName(image_, i);
    std::unique_ptr<Source> source;
    try {
      source = watched_.OpenWhole(layer, what);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kNotFound && IsForeignLayer(layer.media_type))
        return;
      throw;
    }
    sink_.AddBlob(layer, std::move(source), what);
  }

  // What is said about a layer in annotations and URLs is about its old bytes.
  Descriptor Recompress(size_t i) {
    const Digest& diff_id = image_.config.diff_ids.at(i);
    // What is not compressed has its diff ID for digest, which the sink computes.
    const bool plain = *plan_.layers == Compression::kNone && diff_id.algorithm() == HashAlgorithm::kSha256;
    const auto open = plain ? OpenUncheckedLayer : OpenLayer;
    const std::unique_ptr<NewBlob> blob = sink_.MakeBlob(LayerName(image_, i));
    const std::unique_ptr<Sink> packed = Compress(
        *blob,
        {.compression = *plan_.layers, .level = options_.level, .threads = std::min(options_.threads, kMaxDeflaters)});
    Copy(*open(watched_, image_, i, options_.threads > 1), *packed);
    packed->Finish();
    if (plain)
      RequireDigest(blob->digest(), diff_id, LayerName(image_, i));
    return {
        .media_type = LayerType(plan_.manifest_type, *plan_.layers), .digest = blob->digest(), .size = blob->size()};
  }

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
  const ImageSink::Form form_;
  const CopyOptions& options_;
  const Plan plan_;
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
