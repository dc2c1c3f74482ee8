// Whom a sigstore instance is made of: its certificate authorities, logs and timestamp authorities, as
// trusted_root.json lists them (sigstore protobuf-specs, TrustedRoot). Read from disk, or put together from the keys of
// a policy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/crypto.h"
#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxTrustedRootBytes = 4 * 1024 * 1024;
constexpr size_t kMaxTrustedParties = 256;  // of one kind
constexpr size_t kMaxAuthorityChain = 16;

// From when until when, both included, what a party signed counts.
struct ValidFor {
  std::optional<int64_t> from;
  std::optional<int64_t> until;

  bool Contains(int64_t time) const { return (!from || time >= *from) && (!until || time <= *until); }
};

struct TransparencyLog {
  std::string host;  // of its base URL; empty when it is not known
  std::string id;    // raw bytes
  PublicKey key;
  Scheme scheme;
  ValidFor valid_for;

  // As a policy names logs: by a key alone.
  static TransparencyLog OfKey(PublicKey key);
};

// Of certificates or of timestamps. The last certificate of the chain is the anchor.
struct TrustedAuthority {
  std::vector<Certificate> chain;
  ValidFor valid_for;
};

struct TrustedRoot {
  std::vector<TransparencyLog> tlogs;
  std::vector<TransparencyLog> ctlogs;
  std::vector<TrustedAuthority> certificate_authorities;
  std::vector<TrustedAuthority> timestamp_authorities;
  std::vector<std::string> left_out;  // parties with keys that are not accepted, for people

  // Strict where it matters for trust (a period without a beginning is refused); members that are not known are passed
  // over, as in all documents that are written from protocol buffers.
  static TrustedRoot Parse(std::string_view text, std::string_view what);
};

}  // namespace gantry::sign
