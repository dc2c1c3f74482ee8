// The manifests that refer to another one (distribution-spec 1.1, "Listing Referrers" and "Pushing Manifests with
// Subject"): by the list that the registry keeps, or behind the tag that stands in where it keeps none.
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

// Puts a manifest under a tag or its digest (registry_upload.h). Where it has a subject and the registry does not say
// that it lists it (OCI-Subject), it is added to the index behind the subject's tag (attach.h).
void PutAndList(RegistryClient& registry, const std::string& reference, std::string_view bytes,
                const Descriptor& manifest, const std::string& what);

}  // namespace gantry::image
