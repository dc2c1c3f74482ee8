// DSSE envelopes (secure-systems-lab/dsse, envelope.md and protocol.md): a payload with its type, and signatures over
// both.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"

namespace gantry::sign {

constexpr size_t kMaxEnvelopeSignatures = 16;
constexpr size_t kMaxEnvelopePayloadBytes = 1024 * 1024;
constexpr std::string_view kInTotoType = "application/vnd.in-toto+json";

struct DsseSignature {
  std::string key_id;  // a hint that nobody may trust
  std::string bytes;
};

struct DsseEnvelope {
  std::string payload_type;
  std::string payload;
  std::vector<DsseSignature> signatures = {};

  // Closed: payload, payloadType and signatures with sig and keyid, at least one. kCorrupt otherwise.
  static DsseEnvelope Parse(const json::Cursor& from);
  static DsseEnvelope Parse(std::string_view text);
  json::Value ToJson() const;

  // What is signed: the pre-authentication encoding.
  std::string SignedBytes() const;
};

}  // namespace gantry::sign
