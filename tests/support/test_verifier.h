// A Verifier that vouches for everything, for tests of libimage, where libsign is not linked. It takes the name of the
// real one, which alone can make a VerifiedImage; so include it only in image_test (two definitions cannot meet).
#pragma once

#include <string>
#include <utility>

#include "libimage/model/image.h"

namespace gantry::sign {

class Verifier {
 public:
  static image::VerifiedImage ForTest(image::FetchedImage image, std::string vouched_by = "test") {
    return {std::move(image), std::move(vouched_by)};
  }

  static image::VerifiedImage ForTest(image::Image image, std::string vouched_by = "test") {
    return {image::FetchedImage(std::move(image), std::nullopt), std::move(vouched_by)};
  }

  static image::VerifiedArtifact ForTest(image::FetchedArtifact artifact) {
    return {std::move(artifact), "test", std::nullopt};
  }
};

}  // namespace gantry::sign
