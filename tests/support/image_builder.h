// Small images for tests: layers from TarBuilder, a configuration, written as an OCI layout.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/media_type.h"

namespace gantry::testing {

class ImageBuilder {
 public:
  explicit ImageBuilder(bool docker = false) : docker_(docker) {}

  // Adds a layer, base first.
  ImageBuilder& Layer(const std::string& tar, image::Compression compression = image::Compression::kGzip);

  // Sets one member of the configuration's "config" object ("Cmd", "Env", ...).
  ImageBuilder& Config(std::string key, json::Value value);
  // Sets members of the configuration itself, in place of the platform and of what Config said; not "rootfs".
  ImageBuilder& Root(const json::Object& members);
  // The platform; linux and the host's architecture unless set.
  ImageBuilder& Platform(image::Platform platform);

  // What Config and Layer amount to.
  std::string ConfigBytes() const;
  std::string ManifestBytes() const;
  image::Image Build() const { return image::Image::FromBytes(ManifestBytes(), "", ConfigBytes()); }
  // All blobs: configuration and layers, then the manifest.
  std::vector<std::pair<Digest, std::string>> Blobs() const;

  // Writes an OCI layout with this one image, named `ref`, into the directory (created if missing).
  void WriteLayout(const std::string& directory, const std::string& ref) const;

 private:
  struct LayerBytes {
    std::string media_type;
    std::string blob;
    Digest diff_id;
  };
  bool docker_;
  image::Platform platform_ = image::Platform::Host();
  json::Object config_;
  std::optional<json::Object> root_;
  std::vector<LayerBytes> layers_;
};

// The blobs of an image, in memory, and checked as they pass.
class MemoryBlobs : public image::Blobs {
 public:
  MemoryBlobs() = default;
  explicit MemoryBlobs(const ImageBuilder& builder);
  std::unique_ptr<Source> Open(const image::Descriptor& blob, std::string_view what) const override;
  void Put(const std::string& bytes) { blobs_.emplace(Digest::Of(bytes), bytes); }
  void Remove(const Digest& digest) { blobs_.erase(digest); }
  void Damage(const Digest& digest) { blobs_.at(digest).back() ^= 1; }
  const std::string& Get(const Digest& digest) const { return blobs_.at(digest); }

 private:
  std::map<Digest, std::string> blobs_;
};

// An image that can run: busybox as /bin/busybox with links for `sh` and the usual commands, /etc/passwd and /etc/group
// with root, daemon (1:1) and app (1000:1000), /tmp; Cmd is ["/bin/sh"].
ImageBuilder BusyboxImage();

}  // namespace gantry::testing
