// Where an image comes from: an in-toto statement (v1) with SLSA provenance (v1) as its predicate, about what went in.
//
// It says nothing that differs between two builds of the same inputs: no times, no host, no paths of this machine.
#pragma once

#include <string>

#include "libimage/build/draft.h"

namespace gantry::image {

// `id` is the digest of what was written, "sha256:HEX" or the "sha512-HEX" of an ACI.
std::string ProvenanceOf(const Draft& draft, const std::string& name, const std::string& id);

}  // namespace gantry::image
