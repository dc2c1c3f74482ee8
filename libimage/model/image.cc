#include "libimage/model/image.h"

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

Manifest ParseImageManifest(std::string_view bytes, std::string_view content_type) {
  ManifestOrIndex document = ParseManifest(bytes, content_type);
  if (auto* manifest = std::get_if<Manifest>(&document))
    return std::move(*manifest);
  throw Error(ErrorKind::kCorrupt, "manifest: an index of several images, where the manifest of one is expected",
              "choose one of them by --platform or by its digest");
}

void RequireImage(const Manifest& manifest) {
  if (manifest.IsArtifact())
    ThrowNotAnImage("the manifest", manifest);
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    const std::string& type = manifest.layers[i].media_type;
    if (LayerCompression(type))
      continue;
    const bool encrypted = Essence(type).ends_with("+encrypted");
    throw Error(ErrorKind::kUnsupported,
                "manifest: layer " + std::to_string(i + 1) + " has media type " + Quoted(type) +
                    ", which is not one of a tar layer",
                encrypted ? "decrypt the image first, for example with: skopeo copy --decryption-key"
                          : "layers can be tar, plain or compressed by gzip or zstd");
  }
}

void CheckConfig(const Descriptor& descriptor, std::string_view bytes) {
  if (bytes.size() != descriptor.size) {
    throw Error(ErrorKind::kCorrupt, "config: has " + std::to_string(bytes.size()) + " bytes, the manifest says " +
                                         std::to_string(descriptor.size));
  }
  const Digest found = Digest::Of(bytes, descriptor.digest.algorithm());
  if (found != descriptor.digest) {
    throw Error(ErrorKind::kCorrupt,
                "config: has digest " + found.str() + ", the manifest says " + descriptor.digest.str());
  }
}

}  // namespace

void ThrowNotAnImage(const std::string& what, const Manifest& artifact) {
  throw Error(ErrorKind::kUnsupported,
              what + " is no image but an artifact, of type " + Quoted(artifact.ArtifactType()),
              "name an image; gantry inspect shows the artifact, gantry convert writes its files to files:DIR");
}

Artifact Artifact::FromBytes(std::string manifest_bytes, std::string_view content_type,
                             const std::optional<Digest>& digest) {
  ManifestOrIndex document = ParseManifest(manifest_bytes, content_type);
  if (!IsArtifact(document))
    throw Error(ErrorKind::kCorrupt, "manifest: not of an artifact, where one is expected");
  const Digest named = digest ? *digest : Digest::Of(manifest_bytes);
  return FromBytes(std::move(manifest_bytes), std::get<Manifest>(std::move(document)), named);
}

Artifact Artifact::FromBytes(std::string manifest_bytes, Manifest manifest, const Digest& digest) {
  Descriptor descriptor{.media_type = manifest.media_type, .digest = digest, .size = manifest_bytes.size()};
  return {.descriptor = std::move(descriptor),
          .manifest_bytes = std::move(manifest_bytes),
          .manifest = std::move(manifest)};
}

Image Image::FromBytes(std::string manifest_bytes, std::string_view content_type, std::string config_bytes) {
  Manifest manifest = ParseImageManifest(manifest_bytes, content_type);
  return FromBytes(std::move(manifest_bytes), std::move(manifest), std::move(config_bytes));
}

Image Image::FromBytes(std::string manifest_bytes, Manifest manifest, std::string config_bytes) {
  RequireImage(manifest);
  CheckConfig(manifest.config, config_bytes);
  ImageConfig config = ImageConfig::Parse(config_bytes);
  if (config.diff_ids.size() != manifest.layers.size()) {
    throw Error(ErrorKind::kCorrupt, "config: '/rootfs/diff_ids': " + std::to_string(config.diff_ids.size()) +
                                         " entries, but the manifest has " + std::to_string(manifest.layers.size()) +
                                         " layers");
  }
  Descriptor descriptor{
      .media_type = manifest.media_type, .digest = Digest::Of(manifest_bytes), .size = manifest_bytes.size()};
  return {.descriptor = std::move(descriptor),
          .manifest_bytes = std::move(manifest_bytes),
          .manifest = std::move(manifest),
          .config_bytes = std::move(config_bytes),
          .config = std::move(config)};
}

}  // namespace gantry::image
