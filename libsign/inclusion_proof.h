// Merkle trees of transparency logs (RFC 6962, section 2.1): whether a leaf lies in a tree of that root.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::sign {

constexpr size_t kMaxProofHashes = 64;

// The hash of a leaf that holds `data`.
std::string LeafHash(std::string_view data);
std::string NodeHash(std::string_view left, std::string_view right);

// Whether the leaf is number `index` of the `size` leaves below `root`.
bool ProvesInclusion(const std::string& leaf_hash, uint64_t index, uint64_t size, const std::vector<std::string>& proof,
                     const std::string& root);

}  // namespace gantry::sign
