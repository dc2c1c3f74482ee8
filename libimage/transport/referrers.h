// The manifests that refer to another one (distribution-spec 1.1, "Listing Referrers"): by the list that the registry
// keeps, or behind the tag that stands in where it keeps none. What puts them there is in attach.h.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/descriptor.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

constexpr size_t kMaxReferrerPages = 1000;

// Those of `subject` in the registry's order, of `artifact_type` alone unless it is empty; all pages, kMaxReferrers
// entries at most (kCorrupt). What the entries say is hearsay until their manifests have been read.
std::vector<Descriptor> ListReferrers(RegistryClient& registry, const Digest& subject,
                                      std::string_view artifact_type = {});

}  // namespace gantry::image
