#include "libimage/transport/delete_tag.h"

#include <array>
#include <random>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/model/manifest.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/registry_upload.h"

namespace gantry::image {
namespace {

bool IsDenied(int status) { return status == 401 || status == 403 || status == 429 || status >= 500; }

// The status; throws for a denial and for a registry that is not well.
int Delete(RegistryClient& registry, const std::string& reference, const std::string& what) {
  HttpRequest request = registry.RequestFor("manifests/" + reference, what);
  request.method = "DELETE";
  request.max_body_bytes = kMaxErrorBodyBytes;
  const HttpResponse response = registry.Send(std::move(request));
  if (IsDenied(response.status) && response.status != 501)
    registry.ThrowStatus(response, what);
  return response.status;
}

bool IsDeleted(int status) { return status >= 200 && status < 300; }

std::string RandomText() {
  std::random_device random;
  std::string text;
  for (int i = 0; i < 8; ++i) text += std::to_string(random());
  return text;
}

// A manifest that no other tag leads to, with its blobs in the repository.
struct Placeholder {
  Descriptor manifest;
  std::string bytes;
};

Placeholder PutPlaceholder(RegistryClient& registry, const std::string& what) {
  const std::string config =
      json::Print(json::Object{{"architecture", "unknown"},
                               {"os", "unknown"},
                               {"config", json::Object{}},
                               {"author", RandomText()},
                               {"rootfs", json::Object{{"type", "layers"}, {"diff_ids", json::Array{}}}}});
  const Digest digest = Digest::Of(config);
  BlobUpload upload(registry, what);
  upload.Write(AsBytes(config));
  upload.Finish(digest, false);
  const Descriptor blob{.media_type = std::string(kOciConfigType), .digest = digest, .size = config.size()};
  Descriptor layer = blob;
  layer.media_type = kOciLayerType;
  std::string bytes = Manifest{.media_type = std::string(kOciManifestType), .config = blob, .layers = {layer}}.ToJson();
  const Descriptor manifest{
      .media_type = std::string(kOciManifestType), .digest = Digest::Of(bytes), .size = bytes.size()};
  PutManifest(registry, manifest.digest.str(), bytes, manifest, what);
  return {manifest, std::move(bytes)};
}

void DeleteThroughPlaceholder(RegistryClient& registry, const std::string& tag, const std::string& what) {
  const Placeholder placeholder = PutPlaceholder(registry, what);
  const std::string digest = placeholder.manifest.digest.str();
  if (!IsDeleted(Delete(registry, digest, what))) {
    throw Error(ErrorKind::kUnsupported, what + ": the registry deletes neither tags nor manifests",
                "whoever runs it may have to allow that (REGISTRY_STORAGE_DELETE_ENABLED for docker-registry)");
  }
  PutManifest(registry, digest, placeholder.bytes, placeholder.manifest, what);
  PutManifest(registry, tag, placeholder.bytes, placeholder.manifest, what);
  if (!IsDeleted(Delete(registry, digest, what)))
    throw Error(ErrorKind::kNetwork, what + ": the registry refused to delete what it deleted a moment ago");
}

}  // namespace

Digest DeleteTag(RegistryClient& registry, const DockerReference& name) {
  DockerReference tagged = name;
  tagged.digest.reset();
  const std::string what = "tag " + Quoted(name.tag) + " of " + Quoted(name.Repository());
  const Digest was = registry.GetManifest(tagged).digest;
  if (!IsDeleted(Delete(registry, name.tag, what)))
    DeleteThroughPlaceholder(registry, name.tag, what);
  HttpRequest request = registry.RequestFor("manifests/" + name.tag, what);
  request.method = "HEAD";
  request.headers = {AcceptedManifests()};
  if (registry.Send(std::move(request)).ok())
    throw Error(ErrorKind::kNetwork, what + ": the registry says that it is deleted, and still has it");
  return was;
}

}  // namespace gantry::image
