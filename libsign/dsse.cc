#include "libsign/dsse.h"

#include "libimage/base/base64.h"

namespace gantry::sign {
namespace {

constexpr size_t kMaxKeyIdBytes = 1024;
constexpr size_t kMaxSignatureText = 16 * 1024;

std::string Decoded(const json::Cursor& from, size_t max_text) {
  auto bytes = DecodeEitherBase64(from.String(max_text));
  if (!bytes) {
    from.Fail("expected base64");
  }
  return *std::move(bytes);
}

}  // namespace

DsseEnvelope DsseEnvelope::Parse(const json::Cursor& from) {
  from.OnlyKeys({"payload", "payloadType", "signatures"});
  DsseEnvelope envelope{from.At("payloadType").String(1024),
                        Decoded(from.At("payload"), kMaxEnvelopePayloadBytes / 3 * 4 + 4)};
  for (const json::Cursor& signature : from.At("signatures").Elements(kMaxEnvelopeSignatures)) {
    signature.OnlyKeys({"sig", "keyid"});
    const auto key_id = signature.Find("keyid");
    envelope.signatures.push_back(
        {key_id ? key_id->String(kMaxKeyIdBytes) : "", Decoded(signature.At("sig"), kMaxSignatureText)});
  }
  if (envelope.signatures.empty()) {
    from.At("signatures").Fail("expected at least one signature");
  }
  return envelope;
}

DsseEnvelope DsseEnvelope::Parse(std::string_view text) {
  const json::Value document = json::Parse(text, "DSSE envelope", 8);
  return Parse(json::Cursor(document, "DSSE envelope"));
}

json::Value DsseEnvelope::ToJson() const {
  json::Array list;
  for (const DsseSignature& signature : signatures) {
    json::Object one = {{"sig", EncodeBase64(signature.bytes)}};
    if (!signature.key_id.empty()) {
      one.Append("keyid", signature.key_id);
    }
    list.emplace_back(std::move(one));
  }
  return json::Object{{"payload", EncodeBase64(payload)}, {"payloadType", payload_type}, {"signatures", list}};
}

std::string DsseEnvelope::SignedBytes() const {
  return "DSSEv1 " + std::to_string(payload_type.size()) + " " + payload_type + " " + std::to_string(payload.size()) +
         " " + payload;
}

}  // namespace gantry::sign
