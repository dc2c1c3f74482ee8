#include "libsign/inclusion_proof.h"

#include "libsign/crypto.h"

namespace gantry::sign {

std::string LeafHash(std::string_view data) { return Hash(KeyHash::kSha256, std::string(1, '\0') + std::string(data)); }

std::string NodeHash(std::string_view left, std::string_view right) {
  return Hash(KeyHash::kSha256, "\x01" + std::string(left) + std::string(right));
}

// RFC 9162, section 2.1.3.2, in its words: fn and sn are the node's and the last node's number on the level that r is
// on.
bool ProvesInclusion(const std::string& leaf_hash, uint64_t index, uint64_t size, const std::vector<std::string>& proof,
                     const std::string& root) {
  if (index >= size || proof.size() > kMaxProofHashes) {
    return false;
  }
  uint64_t fn = index;
  uint64_t sn = size - 1;
  std::string r = leaf_hash;
  for (const std::string& p : proof) {
    if (sn == 0) {
      return false;
    }
    if ((fn & 1) == 1 || fn == sn) {
      r = NodeHash(p, r);
      while ((fn & 1) == 0 && fn != 0) {
        fn >>= 1;
        sn >>= 1;
      }
    } else {
      r = NodeHash(r, p);
    }
    fn >>= 1;
    sn >>= 1;
  }
  return sn == 0 && r == root;
}

}  // namespace gantry::sign
