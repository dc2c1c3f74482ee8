// What a step reads, as one digest: two steps with the same inputs make the same layer, and the second need not be
// made. Everything that goes into the layer counts, and nothing else: not where the files lie, nor whose they are
// where the owner is given.
#pragma once

#include <cstdint>

#include "libimage/base/digest.h"
#include "libimage/build/upper.h"
#include "libimage/layer/tree_stack.h"

namespace gantry::image {

// Of what Upper::Copy would copy.
struct Fingerprint {
  Digest digest;
  int64_t newest;  // the latest time among it
};

// Times after `epoch` count as it; nullopt: after the newest one, or `not_before` if that is later.
Fingerprint FingerprintOf(const TreeStack& from, const TreeStack::Node& node, const CopyRules& rules,
                          std::optional<int64_t> epoch, int64_t not_before);

}  // namespace gantry::image
