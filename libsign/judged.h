// What is judged: an image or an artifact, under the name that it came by.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "libimage/model/image.h"

namespace gantry::sign {

// All of either that a policy looks at. Borrows from it.
class Judged {
 public:
  Judged(const image::FetchedImage& image)
      : descriptor_(image.image().descriptor),
        manifest_bytes_(image.image().manifest_bytes),
        name_(image.name()),
        index_(image.index()),
        platform_(image.image().config.platform.ToString()) {}
  Judged(const image::FetchedArtifact& fetched)
      : descriptor_(fetched.artifact.descriptor),
        manifest_bytes_(fetched.artifact.manifest_bytes),
        name_(fetched.name),
        index_(fetched.index),
        platform_("artifact") {}
  Judged(const image::Fetched& fetched)
      : Judged(std::holds_alternative<image::FetchedImage>(fetched)
                   ? Judged(std::get<image::FetchedImage>(fetched))
                   : Judged(std::get<image::FetchedArtifact>(fetched))) {}

  const image::Descriptor& descriptor() const { return descriptor_; }
  const std::string& manifest_bytes() const { return manifest_bytes_; }
  const std::optional<image::DockerReference>& name() const { return name_; }
  const std::optional<Digest>& index() const { return index_; }
  const std::string& platform() const { return platform_; }  // "artifact" of what has none

 private:
  const image::Descriptor& descriptor_;
  const std::string& manifest_bytes_;
  const std::optional<image::DockerReference>& name_;
  const std::optional<Digest>& index_;
  std::string platform_;
};

}  // namespace gantry::sign
