// Media types of manifests, configurations and layers, Docker's and OCI's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gantry::image {

constexpr std::string_view kOciManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kOciIndexType = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view kOciConfigType = "application/vnd.oci.image.config.v1+json";
// Of a draft of OCI 1.1: blobs without a configuration. What was pushed so then is still in registries.
constexpr std::string_view kOciArtifactManifestType = "application/vnd.oci.artifact.manifest.v1+json";
constexpr std::string_view kOciEmptyType = "application/vnd.oci.empty.v1+json";
constexpr std::string_view kOciLayerType = "application/vnd.oci.image.layer.v1.tar";
constexpr std::string_view kOciLayerGzipType = "application/vnd.oci.image.layer.v1.tar+gzip";
constexpr std::string_view kOciLayerZstdType = "application/vnd.oci.image.layer.v1.tar+zstd";
constexpr std::string_view kDockerManifestType = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view kDockerListType = "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr std::string_view kDockerSchema1Type = "application/vnd.docker.distribution.manifest.v1+json";
constexpr std::string_view kDockerSignedSchema1Type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
constexpr std::string_view kDockerConfigType = "application/vnd.docker.container.image.v1+json";
constexpr std::string_view kDockerLayerType = "application/vnd.docker.image.rootfs.diff.tar";
constexpr std::string_view kDockerLayerGzipType = "application/vnd.docker.image.rootfs.diff.tar.gzip";
constexpr std::string_view kDockerLayerZstdType = "application/vnd.docker.image.rootfs.diff.tar.zstd";

enum class Compression { kNone, kGzip, kZstd, kXz, kBzip2 };

enum class TypeKind {
  kManifest,  // one image, or an artifact
  kIndex,     // several
  kSchema1,   // Docker's first schema, signed or not
  kConfig,    // an image configuration
  kLayer,     // a tar layer; foreign and nondistributable ones too
  kOther,
};

// What a media type is; parameters (";charset=utf-8") and case do not count.
TypeKind KindOf(std::string_view media_type);

// "type/subtype" in lower case, without parameters and surrounding space.
std::string Essence(std::string_view media_type);

// How a layer of this type is compressed by its name; nullopt when it is not a layer type. Foreign and nondistributable
// layer types count. Encrypted ones ("+encrypted") do not: they are kOther.
std::optional<Compression> LayerCompression(std::string_view media_type);

// The type of a layer in a manifest of `manifest_type`, Docker's or OCI's. kUnsupported for kinds that have none.
std::string LayerType(std::string_view manifest_type, Compression compression, bool foreign = false);

// Whether the type is a foreign or nondistributable layer, whose blob registries may not hold.
bool IsForeignLayer(std::string_view media_type);

}  // namespace gantry::image
