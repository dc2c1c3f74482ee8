// Images that are trusted because a test says so.
#pragma once

#include <optional>
#include <utility>

#include "libsign/verify.h"
#include "tests/support/image_builder.h"

namespace gantry::testing {

inline image::VerifiedImage Trusted(image::Image image) {
  return sign::Verifier::Verify(image::FetchedImage(std::move(image), std::nullopt),
                                sign::Policy::AcceptAnything("a test"), {});
}

inline image::VerifiedArtifact TrustedArtifact(image::FetchedArtifact artifact) {
  return sign::Verifier::Verify(std::move(artifact), sign::Policy::AcceptAnything("a test"), {});
}

inline image::VerifiedImage Trusted(const ImageBuilder& builder) { return Trusted(builder.Build()); }

}  // namespace gantry::testing
