#include "libimage/model/media_type.h"

#include <array>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

// What comes before the suffix of compression in each family of layer types, and how the suffix is joined to it:
// OCI's, Docker's, and their foreign ones.
struct LayerFamily {
  std::string_view stem;
  char joint;
  bool foreign;
};

constexpr std::array kLayerFamilies = {
    LayerFamily{kOciLayerType, '+', false},
    LayerFamily{kDockerLayerType, '.', false},
    LayerFamily{"application/vnd.oci.image.layer.nondistributable.v1.tar", '+', true},
    LayerFamily{"application/vnd.docker.image.rootfs.foreign.diff.tar", '.', true},
};

std::optional<std::pair<Compression, bool>> FindLayer(std::string_view media_type) {
  const std::string essence = Essence(media_type);
  for (const LayerFamily& family : kLayerFamilies) {
    if (!essence.starts_with(family.stem))
      continue;
    const std::string_view suffix = std::string_view(essence).substr(family.stem.size());
    if (suffix.empty())
      return std::pair(Compression::kNone, family.foreign);
    if (suffix.front() != family.joint)
      return std::nullopt;
    if (suffix.substr(1) == "gzip")
      return std::pair(Compression::kGzip, family.foreign);
    if (suffix.substr(1) == "zstd")
      return std::pair(Compression::kZstd, family.foreign);
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::string Essence(std::string_view media_type) {
  constexpr std::string_view kSpace = " \t\r\n";
  media_type = media_type.substr(0, media_type.find(';'));
  const size_t first = media_type.find_first_not_of(kSpace);
  if (first == std::string_view::npos)
    return {};
  std::string out(media_type.substr(first, media_type.find_last_not_of(kSpace) - first + 1));
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

TypeKind KindOf(std::string_view media_type) {
  const std::string essence = Essence(media_type);
  if (essence == kOciManifestType || essence == kDockerManifestType || essence == kOciArtifactManifestType)
    return TypeKind::kManifest;
  if (essence == kOciIndexType || essence == kDockerListType)
    return TypeKind::kIndex;
  if (essence == kDockerSchema1Type || essence == kDockerSignedSchema1Type)
    return TypeKind::kSchema1;
  if (essence == kOciConfigType || essence == kDockerConfigType)
    return TypeKind::kConfig;
  return FindLayer(essence) ? TypeKind::kLayer : TypeKind::kOther;
}

std::optional<Compression> LayerCompression(std::string_view media_type) {
  const auto layer = FindLayer(media_type);
  return layer ? std::optional(layer->first) : std::nullopt;
}

std::string LayerType(std::string_view manifest_type, Compression compression, bool foreign) {
  const bool docker = manifest_type == kDockerManifestType;
  const LayerFamily& family = kLayerFamilies[(docker ? 1 : 0) + (foreign ? 2 : 0)];
  switch (compression) {
    case Compression::kNone:
      return std::string(family.stem);
    case Compression::kGzip:
      return std::string(family.stem) + family.joint + "gzip";
    case Compression::kZstd:
      return std::string(family.stem) + family.joint + "zstd";
    case Compression::kXz:
    case Compression::kBzip2:
      break;
  }
  throw Error(ErrorKind::kUnsupported, "no media type stands for a layer that is compressed by xz or bzip2");
}

bool IsForeignLayer(std::string_view media_type) {
  const auto layer = FindLayer(media_type);
  return layer && layer->second;
}

}  // namespace gantry::image
