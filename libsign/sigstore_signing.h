// Making sigstore signatures of images by key: cosign's payloads, bundles that attest a digest, and identity
// attestations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libimage/base/digest.h"
#include "libimage/model/attachment.h"
#include "libimage/model/reference.h"
#include "libsign/crypto.h"

namespace gantry::sign {

// What is signed about an image.
struct SignedImage {
  image::DockerReference name;  // with tag or digest: what verifiers compare
  Digest manifest;
  std::optional<Digest> identity = std::nullopt;  // gantry-identity(5)
  std::string creator;
  int64_t time = 0;
};

// How cosign 1 and 2 and the containers tools keep it: a simple-signing payload, the signature in an annotation.
image::Attachment SignPayload(const SignedImage& image, const PrivateKey& key, const Scheme& scheme);

// How cosign 3 does: a bundle with a DSSE envelope around a statement, whose subject has the digest, and the name too.
// With an identity it is an identity attestation.
image::Attachment SignStatement(const SignedImage& image, const PrivateKey& key, const Scheme& scheme);

// The same around an in-toto statement that somebody else made.
image::Attachment SignAttestation(std::string statement, const PrivateKey& key, const Scheme& scheme);

}  // namespace gantry::sign
