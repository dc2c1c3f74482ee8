#include "libimage/transport/image_documents.h"

#include <utility>

#include "libimage/base/error.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxPlatformsShown = 40;

std::string PlatformsOf(const Index& index) {
  std::string out;
  size_t shown = 0;
  for (const Descriptor& entry : index.manifests) {
    if (!entry.platform || entry.platform->os == "unknown")
      continue;
    if (++shown > kMaxPlatformsShown)
      return out + ", ...";
    out += (out.empty() ? "" : ", ") + entry.platform->ToString();
  }
  return out;
}

}  // namespace

std::optional<Descriptor> ChosenBy(const ManifestOrIndex& document, const DockerReference& name,
                                   const Platform& platform) {
  const auto* index = std::get_if<Index>(&document);
  if (index == nullptr)
    return std::nullopt;
  const Descriptor* chosen = index->Choose(platform);
  if (chosen == nullptr) {
    const std::string has = PlatformsOf(*index);
    throw Error(ErrorKind::kNotFound, Quoted(name.ToString()) + " has no image for " + platform.ToString(),
                has.empty() ? "nothing that it lists has a platform; --all takes all of it"
                            : "it has " + has + "; choose one with --platform");
  }
  return *chosen;
}

void CheckIndexDepth(size_t indexes, const DockerReference& name) {
  if (indexes > kMaxIndexDepth) {
    throw Error(ErrorKind::kUnsupported, Quoted(name.ToString()) + ": more than " + std::to_string(kMaxIndexDepth) +
                                             " indexes, one in the other");
  }
}

void RequirePlatform(const Platform& has, const Platform& wanted, const DockerReference& name) {
  const bool fits =
      (has.os.empty() || has.os == wanted.os) && (has.architecture.empty() || has.architecture == wanted.architecture);
  if (!fits) {
    throw Error(ErrorKind::kNotFound,
                Quoted(name.ToString()) + " is for " + has.ToString() + ", not for " + wanted.ToString(),
                "--platform " + has.ToString() + " fetches it all the same");
  }
}

Fetched Assemble(ImageDocuments documents, const DockerReference& name, const Platform& platform) {
  std::optional<Digest> index;
  std::optional<Digest> wanted = name.digest;
  std::optional<uint64_t> size;
  std::string type = documents.content_type;
  for (std::string& bytes : documents.manifests) {
    const Digest digest = Digest::Of(bytes, wanted ? wanted->algorithm() : HashAlgorithm::kSha256);
    if ((wanted && digest != *wanted) || (size && bytes.size() != *size)) {
      throw Error(ErrorKind::kCorrupt,
                  "manifest of " + Quoted(name.ToString()) + ": " + std::to_string(bytes.size()) +
                      " bytes with digest " + digest.str() + " where " + (wanted ? wanted->str() : digest.str()) +
                      " was expected",
                  "the registry is broken or hostile; nothing of it was kept");
    }
    const ManifestOrIndex parsed = ParseManifest(bytes, type);
    const std::optional<Descriptor> next = ChosenBy(parsed, name, platform);
    if (!next) {
      if (std::get<Manifest>(parsed).IsArtifact())
        return FetchedArtifact{Artifact::FromBytes(std::move(bytes), type, digest), name, index};
      Image image = Image::FromBytes(std::move(bytes), type, std::move(documents.config));
      RequirePlatform(image.config.platform, platform, name);
      return FetchedImage(std::move(image), name, index);
    }
    if (!index)
      index = digest;
    wanted = next->digest;
    size = next->size;
    type = next->media_type;
  }
  throw Error(ErrorKind::kCorrupt, "manifest of " + Quoted(name.ToString()) + ": none after its index");
}

}  // namespace gantry::image
