// What speaks for an image beside a registry or in it, on its way from the process with the network to the one that
// decides.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libimage/base/message.h"
#include "libimage/transport/registry.h"

namespace gantry::image {

constexpr size_t kMaxLookasides = 32;

struct FoundSignatures {
  std::vector<std::string> signatures;
  std::vector<std::string> looked_at;  // the places, with what went wrong there
};

// How signature `n` of a manifest is called in a lookaside on http(s).
using SignatureUrlOf = std::function<std::string(const std::string& lookaside, size_t n)>;

// Those in `lookasides`, kMaxSignatureBytesInAll together. A place that fails is one without signatures: whether that
// matters is the policy's to say.
FoundSignatures LookAside(HttpClient& http, const std::vector<std::string>& lookasides, const SignatureUrlOf& url);

// Those in the repository itself (attachments.h), in the form in which a store keeps them.
FoundSignatures FindAttachments(RegistryClient& registry, const DockerReference& name, const Digest& manifest);

// As the fields of a message, and back; nullopt for fields that are no such list, or of over `max_count` signatures.
std::vector<std::string> ToFields(FoundSignatures found);
std::optional<FoundSignatures> FromFields(std::vector<std::string> fields, size_t max_count);

}  // namespace gantry::image
