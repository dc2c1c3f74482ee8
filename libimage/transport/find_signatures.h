// Looking for what speaks for an image, beside a registry and in it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libimage/transport/found_signatures.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

// How signature `n` of a manifest is called in a lookaside on http(s).
using SignatureUrlOf = std::function<std::string(const std::string& lookaside, size_t n)>;

// Those in `lookasides`, kMaxSignatureBytesInAll together. A place that fails is one without signatures: whether that
// matters is the policy's to say.
FoundSignatures LookAside(HttpClient& http, const std::vector<std::string>& lookasides, const SignatureUrlOf& url);

// Those in the repository itself (attachments.h), in the form in which a store keeps them.
FoundSignatures FindAttachments(RegistryClient& registry, const DockerReference& name, const Digest& manifest);

}  // namespace gantry::image
