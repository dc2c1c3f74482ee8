#include "libimage/transport/image_documents.h"

#include <string_view>
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

// Whether these bytes are what `entry` lists, and lead to an image.
bool IsImage(std::string_view bytes, const Descriptor& entry) {
  return bytes.size() == entry.size && Digest::Of(bytes, entry.digest.algorithm()) == entry.digest &&
         !IsArtifact(ParseManifest(bytes, entry.media_type));
}

}  // namespace

Descriptor ChosenBy(const Index& index, const DockerReference& name, const Platform& platform,
                    const std::function<bool(const Descriptor&)>& is_artifact) {
  const Index::Choice choice = index.Choose(platform, is_artifact);
  if (choice.entry != nullptr)
    return *choice.entry;
  if (!choice.artifacts.empty()) {
    throw Error(ErrorKind::kUsage,
                Quoted(name.ToString()) + " has " + std::to_string(choice.artifacts.size()) +
                    " artifacts and no image for " + platform.ToString(),
                "name one by its digest, as " + name.Repository() + "@" + choice.artifacts.front()->digest.str() +
                    "; --all takes all of it");
  }
  const std::string has = PlatformsOf(index);
  throw Error(ErrorKind::kNotFound, Quoted(name.ToString()) + " has no image for " + platform.ToString(),
              has.empty() ? "nothing that it lists has a platform; --all takes all of it"
                          : "it has " + has + "; choose one with --platform");
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
  for (size_t i = 0; i < documents.manifests.size(); ++i) {
    std::string& bytes = documents.manifests[i];
    const Digest digest = Digest::Of(bytes, wanted ? wanted->algorithm() : HashAlgorithm::kSha256);
    if ((wanted && digest != *wanted) || (size && bytes.size() != *size)) {
      throw Error(ErrorKind::kCorrupt,
                  "manifest of " + Quoted(name.ToString()) + ": " + std::to_string(bytes.size()) +
                      " bytes with digest " + digest.str() + " where " + (wanted ? wanted->str() : digest.str()) +
                      " was expected",
                  "the registry is broken or hostile; nothing of it was kept");
    }
    ManifestOrIndex parsed = ParseManifest(bytes, type);
    if (auto* const manifest = std::get_if<Manifest>(&parsed)) {
      if (manifest->IsArtifact())
        return FetchedArtifact{Artifact::FromBytes(std::move(bytes), std::move(*manifest), digest), name, index};
      Image image = Image::FromBytes(std::move(bytes), std::move(*manifest), std::move(documents.config));
      RequirePlatform(image.config.platform, platform, name);
      return FetchedImage(std::move(image), name, index);
    }
    const bool last = i + 1 == documents.manifests.size();
    const std::string_view after = last ? std::string_view() : documents.manifests[i + 1];
    const Descriptor next = ChosenBy(std::get<Index>(parsed), name, platform,
                                     [&](const Descriptor& entry) { return !IsImage(after, entry); });
    if (!index)
      index = digest;
    wanted = next.digest;
    size = next.size;
    type = next.media_type;
  }
  throw Error(ErrorKind::kCorrupt, "manifest of " + Quoted(name.ToString()) + ": none after its index");
}

}  // namespace gantry::image
