// A signature or attestation that belongs to an image and is no OpenPGP message: sigstore's, Notary's. One value,
// whether it came as a layer of a manifest in a registry or as a file beside the image.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::image {

constexpr size_t kMaxAttachmentAnnotations = 64;

constexpr std::string_view kSimpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json";
constexpr std::string_view kDsseType = "application/vnd.dsse.envelope.v1+json";
constexpr std::string_view kBundleType = "application/vnd.dev.sigstore.bundle.v0.3+json";

// Of a layer with a simple-signing payload: its signature in base64.
constexpr std::string_view kSignatureAnnotation = "dev.cosignproject.cosign/signature";

struct Attachment {
  std::string media_type;
  std::string payload;
  std::map<std::string, std::string> annotations = {};

  // As the containers tools store it in a lookaside or a directory, and gantry in a store (containers-signature(5),
  // "sigstore-json"): "\0sigstore-json\n" and a JSON object.
  std::string ToStored() const;
  // nullopt when `stored` has another prefix; kCorrupt when it has that one and is not one.
  static std::optional<Attachment> FromStored(std::string_view stored);

  friend bool operator==(const Attachment&, const Attachment&) = default;
};

}  // namespace gantry::image
