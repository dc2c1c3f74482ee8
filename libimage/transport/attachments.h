// Signatures that lie in the repository of the image they are about: behind cosign's tags, and as referrers
// (distribution-spec 1.1) or behind the tag that stands in for those.
#pragma once

#include <string>
#include <vector>

#include "libimage/model/attachment.h"
#include "libimage/model/signature_manifest.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

constexpr size_t kMaxReferrersFetched = 128;  // manifests that are looked into

struct FoundAttachments {
  std::vector<Attachment> attachments;  // at most kMaxSignatureLayers, together at most `room` bytes
  std::vector<std::string> looked_at;   // the places, with what went wrong there
};

// Those of `manifest`. One that cannot be fetched or is not what it should be is left out and told in looked_at: others
// may suffice. `name` says which repository.
FoundAttachments FetchAttachments(RegistryClient& registry, const DockerReference& name, const Digest& manifest,
                                  size_t room);

}  // namespace gantry::image
