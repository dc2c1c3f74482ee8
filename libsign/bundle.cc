#include "libsign/bundle.h"

#include "libimage/base/base64.h"
#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/attachment.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kWhat = "sigstore bundle";
constexpr std::string_view kOlderForm = "application/vnd.dev.sigstore.bundle+json;version=0.3";
constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxText = 4 * 1024 * 1024;
constexpr size_t kMaxHintBytes = 1024;

std::string Decoded(const json::Cursor& from) {
  auto bytes = DecodeEitherBase64(from.String(kMaxText));
  if (!bytes) {
    from.Fail("expected base64");
  }
  return *std::move(bytes);
}

void ParseMaterial(const json::Cursor& from, Bundle& bundle) {
  from.OnlyKeys({"publicKey", "certificate", "tlogEntries", "timestampVerificationData"});
  const auto key = from.Find("publicKey");
  const auto certificate = from.Find("certificate");
  if (key.has_value() == certificate.has_value()) {
    from.Fail("expected exactly one of publicKey and certificate");
  }
  if (key) {
    key->OnlyKeys({"hint"});
    const auto hint = key->Find("hint");
    bundle.key_hint = hint ? hint->String(kMaxHintBytes) : "";
  } else {
    certificate->OnlyKeys({"rawBytes"});
    bundle.certificate = Decoded(certificate->At("rawBytes"));
  }
  if (const auto entries = from.Find("tlogEntries")) {
    static_cast<void>(entries->Elements(kMaxBundleEntries));
    bundle.log_entries = entries->value();
  }
  if (const auto timestamps = from.Find("timestampVerificationData")) {
    timestamps->OnlyKeys({"rfc3161Timestamps"});
    if (const auto list = timestamps->Find("rfc3161Timestamps")) {
      static_cast<void>(list->Elements(kMaxBundleEntries));
    }
    bundle.timestamps = timestamps->value();
  }
}

MessageSignature ParseMessage(const json::Cursor& from) {
  from.OnlyKeys({"messageDigest", "signature"});
  MessageSignature message{{}, Decoded(from.At("signature"))};
  if (const auto digest = from.Find("messageDigest")) {
    digest->OnlyKeys({"algorithm", "digest"});
    if (digest->At("algorithm").String() != "SHA2_256") {
      digest->At("algorithm").Fail("expected SHA2_256");
    }
    message.digest = Decoded(digest->At("digest"));
  }
  return message;
}

}  // namespace

bool MessageSignature::IsAbout(std::string_view message) const {
  return digest.empty() || digest == AsText(Digest::Of(message).raw());
}

Bundle Bundle::Parse(std::string_view text) {
  if (text.size() > kMaxBundleBytes) {
    throw Error(ErrorKind::kCorrupt, std::string(kWhat) + ": over " + std::to_string(kMaxBundleBytes) + " bytes");
  }
  const json::Value document = json::Parse(text, kWhat, kMaxDepth);
  const json::Cursor root(document, std::string(kWhat));
  root.OnlyKeys({"mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope"});
  const std::string& type = root.At("mediaType").String(256);
  if (type != image::kBundleType && type != kOlderForm) {
    throw Error(ErrorKind::kUnsupported, std::string(kWhat) + ": version " + Quoted(type) + " is not supported",
                "version 0.3 is");
  }
  Bundle bundle;
  ParseMaterial(root.At("verificationMaterial"), bundle);
  const auto message = root.Find("messageSignature");
  const auto envelope = root.Find("dsseEnvelope");
  if (message.has_value() == envelope.has_value()) {
    root.Fail("expected exactly one of messageSignature and dsseEnvelope");
  }
  if (message) {
    bundle.message = ParseMessage(*message);
    return bundle;
  }
  bundle.envelope = DsseEnvelope::Parse(*envelope);
  if (bundle.envelope->signatures.size() != 1) {
    envelope->At("signatures").Fail("expected exactly one signature");
  }
  return bundle;
}

std::string Bundle::ToJson() const {
  json::Object material;
  if (certificate.empty()) {
    material.Append("publicKey", json::Object{{"hint", key_hint}});
  } else {
    material.Append("certificate", json::Object{{"rawBytes", EncodeBase64(certificate)}});
  }
  material.Append("tlogEntries", log_entries);
  material.Append("timestampVerificationData", timestamps);
  json::Object root = {{"mediaType", image::kBundleType}, {"verificationMaterial", material}};
  if (envelope) {
    root.Append("dsseEnvelope", envelope->ToJson());
  } else if (message) {
    root.Append("messageSignature",
                json::Object{{"messageDigest",
                              json::Object{{"algorithm", "SHA2_256"}, {"digest", EncodeBase64(message->digest)}}},
                             {"signature", EncodeBase64(message->bytes)}});
  }
  return json::Print(root);
}

std::string Bundle::HintFor(const PublicKey& key) { return EncodeBase64(AsText(Digest::Of(key.spki()).raw())); }

}  // namespace gantry::sign
