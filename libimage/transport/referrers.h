// The manifests that refer to another one (distribution-spec 1.1, "Listing Referrers"): by the list that the registry
// keeps, or behind the tag that stands in where it keeps none. What puts them there is in attach.h.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
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

constexpr size_t kMaxReferrerDepth = 4;  // what refers to what refers to ... a subject

// Takes one manifest that may refer to `subject`: it stands under `name`, which has a `tag` that is made of the digest
// of the subject, or else its own digest. Returns its digest if what refers to it is wanted, too.
using TakeReferrer =
    std::function<std::optional<Digest>(const DockerReference& name, const Digest& subject, const std::string& tag)>;

// All that may refer to `subjects` in the repository of `name`, and to that, level by level: by the registry's lists,
// and behind tags. kCorrupt when there are more than kMaxReferrers.
void WalkReferrers(RegistryClient& registry, DockerReference name, std::vector<Digest> subjects,
                   const TakeReferrer& take);

}  // namespace gantry::image
