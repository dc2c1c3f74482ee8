// One more layer: what a step changed, as a compressed blob.
#pragma once

#include <cstdint>
#include <optional>

#include "libimage/base/dir.h"
#include "libimage/build/draft.h"
#include "libimage/layer/changes.h"
#include "libimage/layer/compression.h"

namespace gantry::image {

struct PackOptions {
  ChangesOptions changes;
  CompressOptions compress;
};

struct PackedLayer {
  DraftLayer layer;
  bool hides = false;  // something of the base
};

// Writes the layer that leads from `base` to `tree` (changes.h) into the borrowed descriptor of an empty file. nullopt,
// and nothing is written, when nothing changed. The same trees and options make the same bytes.
std::optional<PackedLayer> PackLayer(const TreeStack& base, const Dir& tree, int into, const PackOptions& options);

}  // namespace gantry::image
