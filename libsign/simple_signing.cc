#include "libsign/simple_signing.h"

#include <limits>

#include "libimage/base/error.h"
#include "libimage/base/json.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kContainersType = "atomic container signature";
constexpr std::string_view kCosignType = "cosign container image signature";
constexpr std::string_view kSimplePrefix("\0simple-signing\n", 16);
constexpr std::string_view kSigstorePrefix("\0sigstore-json\n", 15);
constexpr size_t kMaxPayloadDepth = 16;  // "optional" is open

image::DockerReference ParseReference(const json::Cursor& from) {
  try {
    return image::DockerReference::Parse(from.String(4096));
  } catch (const Error& error) {
    from.Fail(error.message());
  }
}

Digest ParseDigest(const json::Cursor& from) {
  const auto digest = Digest::TryParse(from.String(4096));
  if (!digest) {
    from.Fail("expected a digest");
  }
  return *digest;
}

std::string_view TypeOf(PayloadKind kind) { return kind == PayloadKind::kCosign ? kCosignType : kContainersType; }

// Cursor::Find takes null for absent; here null is as wrong as any other type.
std::optional<json::Cursor> FindStrictly(const json::Cursor& object, std::string_view key) {
  return object.value().object()->Find(key) == nullptr ? std::nullopt : std::optional(object.At(key));
}

}  // namespace

SimpleClaim SimpleClaim::Parse(std::string_view payload, PayloadKind kind) {
  if (payload.size() > kMaxPayloadBytes) {
    throw Error(ErrorKind::kCorrupt, "signed payload is over " + std::to_string(kMaxPayloadBytes) + " bytes");
  }
  const json::Value document = json::Parse(payload, "signed payload", kMaxPayloadDepth);
  const json::Cursor root(document, "signed payload");
  root.OnlyKeys({"critical", "optional"});
  const json::Cursor critical = root.At("critical");
  critical.OnlyKeys({"type", "image", "identity"});
  const json::Cursor image = critical.At("image");
  image.OnlyKeys({"docker-manifest-digest"});
  const json::Cursor identity = critical.At("identity");
  identity.OnlyKeys({"docker-reference"});
  if (critical.At("type").String() != TypeOf(kind)) {
    critical.At("type").Fail("expected '" + std::string(TypeOf(kind)) + "'");
  }
  const json::Cursor optional = root.At("optional");
  SimpleClaim claim{ParseReference(identity.At("docker-reference")),
                    ParseDigest(image.At("docker-manifest-digest")),
                    {},
                    std::nullopt};
  if (kind == PayloadKind::kCosign && optional.value().is_null()) {
    return claim;
  }
  if (optional.value().object() == nullptr) {
    optional.Fail("expected an object");
  }
  if (const auto creator = FindStrictly(optional, "creator")) {
    claim.creator = creator->String();
  }
  if (const auto timestamp = FindStrictly(optional, "timestamp")) {
    claim.timestamp = timestamp->Integer(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  }
  return claim;
}

std::string SimpleClaim::ToJson(PayloadKind kind) const {
  json::Object optional;
  if (!creator.empty()) {
    optional.Append("creator", creator);
  }
  if (timestamp) {
    optional.Append("timestamp", *timestamp);
  }
  const json::Object critical = {
      {"identity", json::Object{{"docker-reference", reference.ToString()}}},
      {"image", json::Object{{"docker-manifest-digest", manifest.str()}}},
      {"type", TypeOf(kind)},
  };
  return json::Print(json::Object{{"critical", critical}, {"optional", optional}});
}

StoredSignature StoredSignature::Detect(std::string_view blob) {
  if (blob.starts_with(kSimplePrefix)) {
    blob.remove_prefix(kSimplePrefix.size());
  } else if (blob.starts_with(kSigstorePrefix)) {
    return {StoredFormat::kSigstore, blob.substr(kSigstorePrefix.size())};
  }
  const unsigned first = blob.empty() ? 0 : static_cast<unsigned char>(blob[0]);
  // Headers of compressed data, one-pass signature and signature packets, with each length type.
  const bool openpgp = (first >= 0xA0 && first <= 0xA3) || first == 0xC8 || (first >= 0x90 && first <= 0x93) ||
                       first == 0xC4 || (first >= 0x88 && first <= 0x8B) || first == 0xC2;
  return {openpgp ? StoredFormat::kOpenPgp : StoredFormat::kNotUnderstood, blob};
}

}  // namespace gantry::sign
