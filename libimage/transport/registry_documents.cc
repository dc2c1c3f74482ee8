// The documents that lead from a name to an image of one platform: fetching them.
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/model/schema1.h"
#include "libimage/transport/image_documents.h"
#include "libimage/transport/registry.h"

namespace gantry::image {
namespace {

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

struct Listed {
  Digest digest;
  std::string bytes;
  ManifestOrIndex parsed;
};

Listed Get(RegistryClient& registry, const DockerReference& name, const Descriptor& entry, const Store* cache) {
  DockerReference pinned = name;
  pinned.tag.clear();
  pinned.digest = entry.digest;
  std::string bytes = ManifestOf(registry, pinned, cache).bytes;
  ManifestOrIndex parsed = ParseManifest(bytes, entry.media_type);
  return {entry.digest, std::move(bytes), std::move(parsed)};
}

// What is meant of an index.
Listed Follow(RegistryClient& registry, const DockerReference& name, const Platform& platform, const Store* cache,
              const Index& index) {
  std::optional<Listed> asked;  // the last
  const Descriptor chosen = ChosenBy(index, name, platform, [&](const Descriptor& entry) {
    asked = Get(registry, name, entry, cache);
    return IsArtifact(asked->parsed);
  });
  return asked && asked->digest == chosen.digest ? *std::move(asked) : Get(registry, name, chosen, cache);
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
  while (const auto* const index = std::get_if<Index>(&parsed)) {
    out.manifests.push_back(std::move(raw.bytes));
    CheckIndexDepth(out.manifests.size(), name);
    Listed next = Follow(registry, name, platform, cache, *index);
    raw.bytes = std::move(next.bytes);
    parsed = std::move(next.parsed);
  }
  const auto& manifest = std::get<Manifest>(parsed);
  if (!manifest.IsArtifact())
    out.config = ConfigOf(registry, name, manifest, cache);
  out.manifests.push_back(std::move(raw.bytes));
  return out;
}

}  // namespace gantry::image
