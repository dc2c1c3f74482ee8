// From a certificate to an anchor that the caller trusts (RFC 5280, section 6), at one point in time.
//
// Beside what RFC 5280 asks: no SHA-1, no RSA under 2048 bits, no curve but P-256, P-384 and P-521, every authority
// says critically that it is one and that it signs certificates, and one that lists extended usages passes on only
// those. The machine's own store of authorities is never looked at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libsign/step.h"
#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxChainLength = 8;       // leaf and anchor included
constexpr size_t kMaxChainCandidates = 32;  // certificates that came with a signature

struct Chain {
  std::vector<Certificate> certificates;  // leaf first, anchor last; empty when there is a problem
  std::optional<Reason> problem;
};

// `candidates` may fill the gap between leaf and anchor, in any order. The leaf must be meant for `usage` (an OID);
// empty asks for none. An anchor need not be self-signed; a leaf that is an anchor itself is a chain of one. Codes:
// "untrusted-chain", "certificate-expired", "certificate-not-yet-valid", "bad-certificate-signature", "not-a-ca",
// "path-too-long", "unknown-critical-extension", "name-constraints", "weak-key", "weak-digest", "wrong-usage",
// "bad-chain".
Chain BuildChain(const Certificate& leaf, const std::vector<Certificate>& candidates,
                 const std::vector<Certificate>& anchors, int64_t time, std::string_view usage);

// As BuildChain for a chain that is given whole and in order, and whose last certificate is to be self-signed. Says
// nothing about whom to trust.
std::optional<Reason> CheckOrderedChain(const std::vector<Certificate>& chain, int64_t time, std::string_view usage);

}  // namespace gantry::sign
