#include <map>
#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/base/workers.h"
#include "libimage/convert/convert.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/layer/layer.h"
#include "libimage/transport/oci_layout.h"

namespace gantry::image {
namespace {

std::string OciLayerType(const Descriptor& layer) {
  const std::optional<Compression> compression = LayerCompression(layer.media_type);
  if (!compression)
    throw Error(ErrorKind::kUnsupported, "a layer has the media type " + Quoted(layer.media_type));
  std::string type(IsForeignLayer(layer.media_type) ? "application/vnd.oci.image.layer.nondistributable.v1.tar"
                                                    : kOciLayerType);
  if (*compression == Compression::kGzip)
    type += "+gzip";
  if (*compression == Compression::kZstd)
    type += "+zstd";
  return type;
}

// Copies a blob; one of a foreign layer may be nowhere but at its URLs.
void CopyBlob(const Descriptor& blob, const Blobs& from, OciLayoutWriter& to, const std::string& what) {
  std::unique_ptr<Source> source;
  try {
    source = from.Open(blob, what);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kNotFound && IsForeignLayer(blob.media_type))
      return;
    throw;
  }
  to.AddBlob(blob, std::move(source), what);
}

// Each digest once: images repeat layers.
std::map<Digest, size_t> DistinctLayers(const Manifest& manifest) {
  std::map<Digest, size_t> out;
  for (size_t i = 0; i < manifest.layers.size(); ++i) out.emplace(manifest.layers[i].digest, i);
  return out;
}

}  // namespace

std::string OciManifestBytes(const Image& image) {
  if (image.manifest.media_type == kOciManifestType)
    return image.manifest_bytes;
  Manifest manifest = image.manifest;
  manifest.media_type = kOciManifestType;
  manifest.config.media_type = kOciConfigType;
  for (Descriptor& layer : manifest.layers) layer.media_type = OciLayerType(layer);
  return manifest.ToJson();
}

Descriptor ConvertToOciLayout(const VerifiedImage& verified, const Blobs& blobs, const std::string& directory,
                              const OciLayoutOptions& options) {
  const Image& image = verified.image();
  const std::string manifest_bytes = OciManifestBytes(image);
  Descriptor manifest = image.descriptor;
  manifest.media_type = kOciManifestType;
  manifest.digest = Digest::Of(manifest_bytes, image.descriptor.digest.algorithm());
  manifest.size = manifest_bytes.size();
  manifest.annotations.clear();
  manifest.platform = image.config.platform;

  const auto writer = OciLayoutWriter::Begin(directory);
  if (!options.overwrite)
    writer->CheckRefIsFree(options.ref, manifest.digest);
  const ProgressBlobs watched(blobs, image, options.progress, "copy");
  std::vector<size_t> layers;
  for (const auto& [digest, index] : DistinctLayers(image.manifest)) layers.push_back(index);
  RunParallel(layers.size(), options.threads, [&](size_t i) {
    CopyBlob(image.manifest.layers[layers[i]], watched, *writer, LayerName(image, layers[i]));
  });
  writer->AddBlob(image.manifest.config, StringSource(image.config_bytes), "the configuration");
  writer->AddBlob(manifest, StringSource(manifest_bytes), "the manifest");
  writer->Commit(manifest, options.ref, options.overwrite);
  watched.End();
  return manifest;
}

}  // namespace gantry::image
