// One image of one platform, and how far it is trusted.
//
//   FetchedImage    its bytes match their digests; nobody vouches for it yet
//   VerifiedImage   a policy allowed it; only gantry::sign::Verifier makes one, so forging one does not compile
//
// Conversion (convert/convert.h) and Authoring (build/draft.h) carry trust over to what they make of one; the runner
// takes nothing but a VerifiedImage, and the naming in the store nothing but that or a VerifiedArtifact.
//
// What a manifest is, Manifest::IsArtifact says, and nobody else: an Image is made of what is none, an Artifact of what
// is one, and no function makes the one of the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>

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
  // The same for who has parsed these bytes already.
  static Image FromBytes(std::string manifest_bytes, Manifest manifest, std::string config_bytes);
};

// A manifest that is not one of an image: a chart, a module, a list of components. Its blobs are carried, and never
// executed or taken apart.
struct Artifact {
  Descriptor descriptor;       // of the manifest; its media_type is the manifest's
  std::string manifest_bytes;  // whose digest is descriptor.digest
  Manifest manifest;

  // `digest` is that of the bytes by which they were found, of whichever algorithm; by default their SHA-256. kCorrupt
  // for an image and for an index.
  static Artifact FromBytes(std::string manifest_bytes, std::string_view content_type,
                            const std::optional<Digest>& digest = std::nullopt);
  static Artifact FromBytes(std::string manifest_bytes, Manifest manifest, const Digest& digest);
};

// Says in the words of all programs that `what` is an artifact, where an image is wanted: kUnsupported.
[[noreturn]] void ThrowNotAnImage(const std::string& what, const Manifest& artifact);

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
  std::string reference;  // "quay.io/org/app:v1 linux/amd64"; of an artifact "quay.io/org/chart:v1 artifact"
  int64_t signed_at = 0;
  friend bool operator==(const Accepted&, const Accepted&) = default;
};

// The same of an artifact.
struct FetchedArtifact {
  Artifact artifact;
  std::optional<DockerReference> name;
  std::optional<Digest> index = std::nullopt;
};

using Fetched = std::variant<FetchedImage, FetchedArtifact>;

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

class VerifiedArtifact {
 public:
  const Artifact& artifact() const { return fetched_.artifact; }
  const std::optional<DockerReference>& name() const { return fetched_.name; }
  const std::optional<Digest>& index() const { return fetched_.index; }
  const std::string& vouched_by() const { return vouched_by_; }
  const std::optional<Accepted>& accepted() const { return accepted_; }

 private:
  friend class gantry::sign::Verifier;
  VerifiedArtifact(FetchedArtifact fetched, std::string vouched_by, std::optional<Accepted> accepted)
      : fetched_(std::move(fetched)), vouched_by_(std::move(vouched_by)), accepted_(std::move(accepted)) {}

  FetchedArtifact fetched_;
  std::string vouched_by_;
  std::optional<Accepted> accepted_;
};

}  // namespace gantry::image
