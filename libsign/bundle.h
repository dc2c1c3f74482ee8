// Sigstore bundles (protobuf-specs, sigstore_bundle.proto) in their JSON form: a signature with all that is needed to
// verify it offline. Version 0.3 is written, 0.3 is read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/json.h"
#include "libsign/crypto.h"
#include "libsign/dsse.h"

namespace gantry::sign {

constexpr size_t kMaxBundleBytes = 4 * 1024 * 1024;
constexpr size_t kMaxBundleEntries = 32;  // of a log, and timestamps

struct MessageSignature {
  std::string digest;  // SHA-256 of the message as the bundle has it, empty when it does not: a hint
  std::string bytes;

  // Whether the hint, if there is one, is true of `message`.
  bool IsAbout(std::string_view message) const;
};

struct Bundle {
  // One of the two. The hint says which key to try, and may lie.
  std::string key_hint = {};
  std::string certificate = {};  // DER of the leaf
  // One of the two.
  std::optional<DsseEnvelope> envelope = {};  // with exactly one signature
  std::optional<MessageSignature> message = {};
  // "tlogEntries" and "timestampVerificationData" as they came, for who verifies them.
  json::Value log_entries = json::Array{};
  json::Value timestamps = json::Object{};

  // kCorrupt for a document that is none, kUnsupported for another version of it.
  static Bundle Parse(std::string_view text);
  std::string ToJson() const;

  // What cosign writes as the hint of a key: base64 of the SHA-256 of its SubjectPublicKeyInfo.
  static std::string HintFor(const PublicKey& key);
};

}  // namespace gantry::sign
