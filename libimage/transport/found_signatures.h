// What speaks for an image beside a registry or in it, on its way from the process with the network to the one that
// decides.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxLookasides = 32;

struct FoundSignatures {
  std::vector<std::string> signatures;
  std::vector<std::string> looked_at;  // the places, with what went wrong there
};

// As the fields of a message, and back; nullopt for fields that are no such list, or of over `max_count` signatures.
std::vector<std::string> ToFields(FoundSignatures found);
std::optional<FoundSignatures> FromFields(std::vector<std::string> fields, size_t max_count);

}  // namespace gantry::image
