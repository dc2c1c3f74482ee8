// One image of one platform, and how far it is trusted.
//
//   FetchedImage    its bytes match their digests; nobody vouches for it yet
//   VerifiedImage   a policy allowed it; only gantry::sign::Verifier makes one, so forging one does not compile
//
// Conversion (convert/convert.h) and Authoring (build/draft.h) carry trust over to what they make of one; the runner
// and the naming of images in the store take nothing but a VerifiedImage.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "libimage/model/config.h"
#include "libimage/model/manifest.h"
#include "libimage/model/reference.h"

namespace gantry::sign {
class Verifier;
}

namespace gantry::image {

class Authoring;
class Conversion;

// A manifest, its configuration, and the digests that pin both. Layers are blobs elsewhere, named by the manifest.
struct Image {
  Descriptor descriptor;       // of the manifest; its media_type is the manifest's
  std::string manifest_bytes;  // whose digest is descriptor.digest
  Manifest manifest;
  std::string config_bytes;  // whose digest is manifest.config.digest
  ImageConfig config;

  // Parses both and checks: digests and sizes, one diff ID a layer (kCorrupt otherwise).
  static Image FromBytes(std::string manifest_bytes, std::string_view content_type, std::string config_bytes);
};

class FetchedImage {
 public:
  // `name` is what the user asked for, nullopt for images that have no registry name; `index` is the digest of the
  // index that led to this image, if one did.
  FetchedImage(Image image, std::optional<DockerReference> name, std::optional<Digest> index = std::nullopt)
      : image_(std::move(image)), name_(std::move(name)), index_(index) {}

  const Image& image() const { return image_; }
  const std::optional<DockerReference>& name() const { return name_; }
  const std::optional<Digest>& index() const { return index_; }

 private:
  Image image_;
  std::optional<DockerReference> name_;
  std::optional<Digest> index_;
};

// Where the policy takes nothing older than what it took before (neverOlder): what the image was accepted as, and when
// the signature was made that counted. Whoever uses the image notes it (Store::NoteAccepted).
struct Accepted {
  std::string reference;  // "quay.io/org/app:v1 linux/amd64"
  int64_t signed_at = 0;
  friend bool operator==(const Accepted&, const Accepted&) = default;
};

class VerifiedImage {
 public:
  const Image& image() const { return fetched_.image(); }
  const std::optional<DockerReference>& name() const { return fetched_.name(); }
  const std::optional<Digest>& index() const { return fetched_.index(); }

  // Who vouched, in one line for people: "signedBy <fingerprint>", "insecureAcceptAnything",
  // "--insecure-options=image".
  const std::string& vouched_by() const { return vouched_by_; }

  const std::optional<Accepted>& accepted() const { return accepted_; }

 private:
  friend class gantry::sign::Verifier;
  friend class Authoring;
  friend class Conversion;
  VerifiedImage(FetchedImage fetched, std::string vouched_by, std::optional<Accepted> accepted = std::nullopt)
      : fetched_(std::move(fetched)), vouched_by_(std::move(vouched_by)), accepted_(std::move(accepted)) {}

  FetchedImage fetched_;
  std::string vouched_by_;
  std::optional<Accepted> accepted_;
};

}  // namespace gantry::image
