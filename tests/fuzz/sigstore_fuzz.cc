#include "libimage/model/attachment.h"
#include "libimage/model/signature_manifest.h"
#include "libsign/bundle.h"
#include "libsign/crypto.h"
#include "libsign/simple_signing.h"
#include "libsign/statement.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::image::Attachment;
using gantry::sign::Bundle;
using gantry::sign::DsseEnvelope;
using gantry::sign::PublicKey;
using gantry::sign::SimpleClaim;
using gantry::sign::Statement;

namespace {

// What was read prints to what reads the same.
template <typename Value>
void CheckRoundTrip(std::string_view text) {
  Accepts([&] {
    const std::string printed = Value::Parse(text).ToJson();
    Require(Value::Parse(printed).ToJson() == printed);
  });
}

void CheckEnvelope(std::string_view text) {
  Accepts([&] {
    const DsseEnvelope envelope = DsseEnvelope::Parse(text);
    const DsseEnvelope again = DsseEnvelope::Parse(gantry::json::Print(envelope.ToJson()));
    Require(again.SignedBytes() == envelope.SignedBytes() && !again.signatures.empty());
  });
}

void CheckAttachment(std::string_view text) {
  Accepts([&] {
    if (const auto attachment = Attachment::FromStored(text)) {
      Require(Attachment::FromStored(attachment->ToStored()) == attachment);
    }
  });
}

void CheckClaim(std::string_view text) {
  Accepts([&] {
    const auto kind = gantry::sign::PayloadKind::kCosign;
    const SimpleClaim claim = SimpleClaim::Parse(text, kind);
    Require(SimpleClaim::Parse(claim.ToJson(kind), kind).manifest == claim.manifest);
  });
}

// A key that was read verifies something without harm, and nothing that is empty.
void CheckKey(std::string_view text) {
  Accepts([&] {
    const PublicKey key = PublicKey::Parse(text, "fuzz");
    Require(PublicKey::Parse(key.ToPem(), "fuzz") == key);
    Require(!key.Accepts(gantry::sign::Scheme::DefaultFor(key.kind()), "message", ""));
    Require(!key.Accepts(gantry::sign::Scheme::DefaultFor(key.kind()), "message", text));
  });
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, size);
  CheckRoundTrip<Bundle>(text);
  CheckRoundTrip<Statement>(text);
  CheckEnvelope(text);
  CheckAttachment(text);
  CheckClaim(text);
  CheckKey(text);
  Accepts([&] { static_cast<void>(gantry::image::SignatureLayers(text)); });
  return 0;
}
