// The documents that lead from a name to an image of one platform.
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/model/schema1.h"
#include "libimage/transport/registry.h"

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
  return out.empty() ? "none" : out;
}

// What an index chooses for `platform`; nullopt for a manifest.
std::optional<Descriptor> Next(const ManifestOrIndex& document, const DockerReference& name, const Platform& platform) {
  const auto* index = std::get_if<Index>(&document);
  if (index == nullptr)
    return std::nullopt;
  const Descriptor* chosen = index->Choose(platform);
  if (chosen == nullptr) {
    throw Error(ErrorKind::kNotFound, Quoted(name.ToString()) + " has no image for " + platform.ToString(),
                "it has " + PlatformsOf(*index) + "; choose one with --platform");
  }
  return *chosen;
}

void CheckDepth(size_t indexes, const DockerReference& name) {
  if (indexes > kMaxIndexDepth) {
    throw Error(ErrorKind::kUnsupported, Quoted(name.ToString()) + ": more than " + std::to_string(kMaxIndexDepth) +
                                             " indexes, one in the other");
  }
}

void CheckIsImage(const Manifest& manifest, const DockerReference& name) {
  if (!manifest.IsArtifact())
    return;
  const std::string& type = manifest.artifact_type.empty() ? manifest.config.media_type : manifest.artifact_type;
  throw Error(ErrorKind::kUnsupported, Quoted(name.ToString()) + " is an artifact of type " + Quoted(type),
              "only images can be fetched");
}

// The manifest that `name` pins, from the store if it is there.
RawManifest ManifestOf(RegistryClient& registry, const DockerReference& name, const Store* cache) {
  if (cache != nullptr && name.digest && cache->HasBlob(*name.digest))
    return {.bytes = cache->ReadBlob(*name.digest, kMaxManifestBytes), .content_type = {}, .digest = *name.digest};
  return registry.GetManifest(name);
}

std::string ConfigOf(RegistryClient& registry, const DockerReference& name, const Manifest& manifest,
                     const Store* cache) {
  if (cache != nullptr && cache->HasBlob(manifest.config.digest))
    return cache->ReadBlob(manifest.config.digest, kMaxConfigBytes);
  return registry.GetBlob(manifest.config, kMaxConfigBytes, "configuration of " + Quoted(name.ToString()));
}

}  // namespace

void RequirePlatform(const Platform& has, const Platform& wanted, const DockerReference& name) {
  const bool fits =
      (has.os.empty() || has.os == wanted.os) && (has.architecture.empty() || has.architecture == wanted.architecture);
  if (!fits) {
    throw Error(ErrorKind::kNotFound,
                Quoted(name.ToString()) + " is for " + has.ToString() + ", not for " + wanted.ToString(),
                "--platform " + has.ToString() + " fetches it all the same");
  }
}

uint64_t HeadBlobSize(RegistryClient& registry, const Digest& digest, const std::string& what) {
  HttpRequest request = registry.RequestFor("blobs/" + digest.str(), what);
  request.method = "HEAD";
  const HttpResponse response = registry.Send(std::move(request));
  if (!response.ok())
    registry.ThrowStatus(response, what);
  const auto size = ParseDecimal<uint64_t>(response.Header("content-length"));
  if (!size || *size == 0 || *size > kMaxBlobBytes)
    throw Error(ErrorKind::kNetwork, what + ": the registry does not say how large " + digest.str() + " is");
  return *size;
}

namespace {

// By HEAD, which those who count pulls do not count, where an image of that name is here: it may be the same still.
DockerReference PinnedByHead(RegistryClient& registry, const DockerReference& name, const Store* cache) {
  DockerReference pinned = name;
  if (cache == nullptr || name.digest || !cache->Resolve(name.WithDefaultTag().ToString()))
    return pinned;
  const std::optional<Digest> head = registry.HeadManifest(name);
  if (head && cache->HasBlob(*head))
    pinned.digest = head;
  return pinned;
}

}  // namespace

ImageDocuments FetchDocuments(RegistryClient& registry, const DockerReference& name, const Platform& platform,
                              const Store* cache) {
  RawManifest raw = ManifestOf(registry, PinnedByHead(registry, name, cache), cache);
  ImageDocuments out{.content_type = raw.content_type, .manifests = {}, .config = {}};
  if (IsSchema1(raw.bytes, raw.content_type)) {
    out.schema1 = true;
    out.manifests.push_back(std::move(raw.bytes));
    return out;
  }
  ManifestOrIndex parsed = ParseManifest(raw.bytes, raw.content_type);
  while (const std::optional<Descriptor> next = Next(parsed, name, platform)) {
    out.manifests.push_back(std::move(raw.bytes));
    CheckDepth(out.manifests.size(), name);
    DockerReference pinned = name;
    pinned.tag.clear();
    pinned.digest = next->digest;
    raw = ManifestOf(registry, pinned, cache);
    parsed = ParseManifest(raw.bytes, next->media_type);
  }
  const auto& manifest = std::get<Manifest>(parsed);
  CheckIsImage(manifest, name);
  out.config = ConfigOf(registry, name, manifest, cache);
  out.manifests.push_back(std::move(raw.bytes));
  return out;
}

FetchedImage AssembleImage(ImageDocuments documents, const DockerReference& name, const Platform& platform) {
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
    const std::optional<Descriptor> next = Next(parsed, name, platform);
    if (!next) {
      CheckIsImage(std::get<Manifest>(parsed), name);
      Image image = Image::FromBytes(std::move(bytes), type, std::move(documents.config));
      RequirePlatform(image.config.platform, platform, name);
      return {std::move(image), name, index};
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
