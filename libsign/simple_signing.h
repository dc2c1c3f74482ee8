// Simple signing: the JSON that a signature covers, and the form in which signatures are stored
// (containers-signature(5)). Cryptography is in libsign/openpgp.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/digest.h"
#include "libimage/model/reference.h"

namespace gantry::sign {

constexpr size_t kMaxPayloadBytes = 256 * 1024;

// Who writes payloads: the containers tools inside OpenPGP messages, cosign beside bare signatures.
enum class PayloadKind { kContainers, kCosign };

// What a payload says. It is worth as much as the signature it was taken out of.
struct SimpleClaim {
  image::DockerReference reference;  // normalised; neither tag nor digest is added
  Digest manifest;
  std::string creator;               // empty when absent
  std::optional<int64_t> timestamp;  // seconds since 1970

  // Accepts the format and nothing beside it: "critical" and its members closed, the letter case as specified,
  // "optional" an open object whose "timestamp" is an integer; cosign's may be null. kCorrupt otherwise.
  static SimpleClaim Parse(std::string_view payload, PayloadKind kind = PayloadKind::kContainers);

  // Compact JSON, the same on every call.
  std::string ToJson(PayloadKind kind = PayloadKind::kContainers) const;
};

// What a stored signature is, by its first bytes.
enum class StoredFormat {
  kOpenPgp,        // an OpenPGP message, bare or after "\0simple-signing\n"
  kSigstore,       // "\0sigstore-json\n"
  kNotUnderstood,  // armor, cleartext, anything else
};

struct StoredSignature {
  StoredFormat format;
  std::string_view message;  // what follows the prefix; borrows

  static StoredSignature Detect(std::string_view blob);
};

}  // namespace gantry::sign
