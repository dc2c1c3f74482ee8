// Docker's image manifest, version 2, schema 1, signed or not: what registries of before 2016 hold. It lists layers and
// a configuration for each as it was built, but neither sizes nor diff IDs, so that an image of today can be made of it
// only by who has the layers.
//
// The signature is a JWS by whoever pushed it, and tells nothing; what it covers, the payload, is what the digest is
// of. All that is read here is read out of the payload.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/image.h"

namespace gantry::image {

// Whether a manifest is of schema 1, by the type it came with, else by its schemaVersion.
bool IsSchema1(std::string_view bytes, std::string_view content_type);

class Schema1 {
 public:
  // kCorrupt for signatures that disagree on the payload, one that is not in the document, lists of different lengths,
  // and over kMaxLayers.
  static Schema1 Parse(std::string_view bytes);

  const std::string& payload() const { return payload_; }

  // The layers that hold something, base first; the same one may be there twice.
  std::vector<Digest> Blobs() const;

  // The image of schema 2 that it amounts to, over `layers` with `diff_ids`, one of each for each of Blobs. The same
  // layers make the same bytes.
  Image ToImage(const std::vector<Descriptor>& layers, const std::vector<Digest>& diff_ids) const;

 private:
  struct Step {
    Digest blob;
    bool empty;        // changed nothing in the file system; the blob is of no use
    json::Object was;  // "v1Compatibility"
  };
  std::string payload_;
  std::vector<Step> steps_;  // base first
};

}  // namespace gantry::image
