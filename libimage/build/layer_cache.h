// Layers that were made before, by what they were made of: "NAME.json" says which blob, "blobs/" has it. The directory
// may be removed at any time; what is damaged counts as absent.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/dir.h"
#include "libimage/build/blob_directory.h"
#include "libimage/build/draft.h"

namespace gantry::image {

class LayerCache {
 public:
  // What a step made: a layer, or nothing that changed anything.
  struct Made {
    std::optional<DraftLayer> layer;
  };

  // Made when it is missing.
  explicit LayerCache(const std::string& directory);

  std::optional<Made> Find(const Digest& inputs) const;
  void Keep(const Digest& inputs, const Made& made) const;

  const BlobDirectory& blobs() const { return blobs_; }
  const Dir& dir() const { return dir_; }

 private:
  Dir dir_;
  BlobDirectory blobs_;
};

}  // namespace gantry::image
