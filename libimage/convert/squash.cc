// All layers of one image as a single one into a sink.
#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/time_text.h"
#include "libimage/convert/chosen_form.h"
#include "libimage/convert/convert.h"
#include "libimage/convert/fan_out.h"
#include "libimage/convert/identified.h"
#include "libimage/convert/layers_ahead.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/compression.h"

namespace gantry::image {
namespace {

class LayerWriter : public EntrySink {
 public:
  explicit LayerWriter(Sink& into) : archive_(into) {}

  void Add(const Entry& entry) override {
    if (!entry.name.empty())
      return archive_.Add(entry);
    Entry root = entry;
    root.name = "./";
    archive_.Add(root);
  }
  void Write(std::span<const std::byte> bytes) override { archive_.Write(bytes); }
  void WriteZeros(uint64_t count) override { archive_.WriteZeros(count); }
  void Finish() { archive_.Finish(); }

 private:
  ArchiveWriter archive_;
};

class DiffIdSink : public Sink {
 public:
  void Write(std::span<const std::byte> bytes) override { hasher_.Update(bytes); }
  void Finish() override { diff_id_ = hasher_.Finish(); }
  const Digest& diff_id() const { return diff_id_.value(); }

 private:
  Hasher hasher_;
  std::optional<Digest> diff_id_;
};

struct SquashedLayer {
  Digest diff_id, digest;
  uint64_t size;
};

// nullopt when a layer holds a path twice and all must start over (flatten.h).
std::optional<SquashedLayer> WriteLayer(Flattener& flattener, ImageSink& sink, const CompressOptions& options,
                                        const ImageConfig& config, const std::optional<Digest>& rootfs,
                                        const OnIdentity& identified) {
  const std::unique_ptr<NewBlob> blob = sink.MakeBlob("the squashed layer");
  const std::unique_ptr<Sink> packed = Compress(*blob, options);
  DiffIdSink hash;
  const std::vector<Sink*> both{&hash, packed.get()};
  const std::unique_ptr<Sink> tar = options.threads > 1 ? FanOut(both) : FanOutHere(both);
  LayerWriter writer(*tar);
  if (!RunIdentified(flattener, writer, config, rootfs, identified))
    return std::nullopt;
  writer.Finish();
  tar->Finish();
  return SquashedLayer{hash.diff_id(), blob->digest(), blob->size()};
}

// What is unknown to us stays as it is.
std::string SquashedConfig(const Image& image, const Digest& diff_id, int64_t epoch) {
  json::Value config = json::Parse(image.config_bytes, "the configuration");
  json::Object history{{"created_by", "gantry convert --squash"}};
  if (epoch != 0 || !image.config.created.empty())
    history.Set("created", epoch != 0 ? Rfc3339(epoch) : image.config.created);
  config.object()->Set("rootfs",
                       json::Object{{"type", "layers"}, {"diff_ids", json::Array{json::Value(diff_id.str())}}});
  config.object()->Set("history", json::Array{json::Value(history)});
  return json::Print(config);
}

}  // namespace

VerifiedImage Conversion::Squash(const VerifiedImage& verified, const Blobs& blobs, ImageSink& sink,
                                 const CopyOptions& options, int64_t epoch) {
  const Image& image = verified.image();
  if (options.preserve_digests)
    throw Error(ErrorKind::kUnsupported, "no digest can be preserved when layers become one",
                "leave out --squash or --preserve-digests");
  const ImageSink::Form form = sink.form();
  Manifest manifest{.media_type = ChosenManifestType(image, form, options), .config = image.manifest.config};
  const Compression compression = ChosenCompression(form, options).value_or(Compression::kGzip);
  const bool docker = manifest.media_type == kDockerManifestType;
  if (docker && compression == Compression::kZstd)
    ThrowZstdInDocker();

  const ProgressBlobs watched(blobs, image, options.progress, "squash");
  LayersAhead layers(watched, image, options.threads > 1);
  Flattener flattener(image.manifest.layers.size(), [&](size_t layer) { return layers.Open(layer); },
                      {.undated = {epoch, 0}, .what = "the image"});
  const CompressOptions packing{.compression = compression, .level = options.level, .threads = options.threads};
  std::optional<Digest> rootfs = options.rootfs;
  OnIdentity identified;
  if (options.identified) {
    identified = [&](const Identity& found) {
      rootfs = found.rootfs;
      options.identified(found);
    };
  }
  std::optional<SquashedLayer> layer;
  while (!layer) layer = WriteLayer(flattener, sink, packing, image.config, options.rootfs, identified);

  const std::string config = SquashedConfig(image, layer->diff_id, epoch);
  manifest.config = {.media_type = std::string(docker ? kDockerConfigType : kOciConfigType),
                     .digest = Digest::Of(config),
                     .size = config.size()};
  manifest.layers = {
      {.media_type = LayerType(manifest.media_type, compression), .digest = layer->digest, .size = layer->size}};
  if (!docker)
    manifest.annotations = image.manifest.annotations;
  sink.AddBlob(manifest.config, StringSource(config), "the configuration");
  Image made = Image::FromBytes(manifest.ToJson(), manifest.media_type, config);
  sink.AddBlob(made.descriptor, StringSource(made.manifest_bytes), "the manifest");
  watched.End();
  VerifiedImage squashed = Carry(verified, std::move(made));
  sink.Vouch(squashed);
  if (rootfs)
    sink.KeepRootfs(squashed.image().descriptor.digest, *rootfs);
  return squashed;
}

}  // namespace gantry::image
