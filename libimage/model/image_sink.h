// Where images go: a layout, an archive, a store. One interface, so that one engine (convert.h) writes them all.
//
// Blobs first, then the manifests that name them (blobs as well), then Name for each top, then Commit: before it
// nothing is seen under a final name, and a sink that is destroyed without it leaves nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/image.h"
#include "libimage/model/media_type.h"

namespace gantry::image {

// A blob on its way in whose bytes are being made. Destroyed without Finish, or after Finish threw, it leaves nothing.
class NewBlob : public Sink {
 public:
  // For who knows the digest beforehand: Finish is kCorrupt for another one. `what` names the blob in errors.
  void Expect(const Digest& digest, std::string what) { expected_.emplace(digest, std::move(what)); }

  // After Finish.
  virtual Digest digest() const = 0;
  virtual uint64_t size() const = 0;

 protected:
  // For every Finish, before anything is kept.
  void RequireExpected(const Digest& found) const {
    if (expected_)
      RequireDigest(found, expected_->first, expected_->second);
  }

 private:
  std::optional<std::pair<Digest, std::string>> expected_;
};

class ImageSink {
 public:
  virtual ~ImageSink() = default;

  // What the format can hold; nullopt is anything.
  struct Form {
    std::optional<Compression> layers;         // how every layer must be compressed
    std::optional<std::string> manifest_type;  // kOciManifestType or kDockerManifestType
    bool indexes = true;                       // takes an index as a top, with all its manifests
    bool parallel = true;                      // several blobs at once, each from a thread of its own
    bool registry_names = false;               // what is named has names of registries
  };
  virtual Form form() const = 0;

  // A blob whose digest and size are known: copied and checked (kCorrupt). One that is there already is kept if it is
  // sound; `from` then need not be read.
  virtual void AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) = 0;

  // A blob whose digest comes out at its end.
  virtual std::unique_ptr<NewBlob> MakeBlob(std::string_view what) = 0;

  // An image whose blobs and manifest were added, and who vouches for it: for places that name only what is trusted.
  virtual void Vouch(const VerifiedImage&) {}
  virtual void VouchForArtifact(const VerifiedArtifact&) {}

  // The rootfs digest (gantry-identity(5)) of such an image, where it is known: for places that keep it.
  virtual void KeepRootfs(const Digest& /*manifest*/, const Digest& /*rootfs*/) {}

  // Lists a manifest or index that was added as `ref`, which may be empty. kFailed when the name is taken.
  virtual void Name(const Descriptor& top, const std::string& ref) = 0;

  // The last call.
  virtual void Commit() = 0;
};

}  // namespace gantry::image
