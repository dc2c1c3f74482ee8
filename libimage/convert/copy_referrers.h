// Manifests that refer to others (signatures, attestations, lists of components), copied as they are.
#pragma once

#include <functional>
#include <vector>

#include "libimage/model/blobs.h"
#include "libimage/model/image_sink.h"

namespace gantry::image {

// What refers to a manifest; an annotation (kRefNameAnnotation) is the tag that one has, if it has one.
using ReferrersOf = std::function<std::vector<Descriptor>(const Digest& subject)>;

// Adds what refers to `subjects`, and what refers to that, kMaxReferrers manifests at most, to `sink`; those with a tag
// get it (ImageSink::Name). Returns their number.
size_t CopyReferrers(const ReferrersOf& referrers, const std::vector<Digest>& subjects, const Blobs& blobs,
                     ImageSink& sink);

}  // namespace gantry::image
