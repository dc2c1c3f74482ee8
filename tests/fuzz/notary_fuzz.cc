#include "libimage/model/signature_manifest.h"
#include "libsign/cose.h"
#include "libsign/notary.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::NotaryEnvelope;

namespace {

// An envelope in either encoding: what is read has a chain and a time, and where nobody is trusted nobody signed.
void CheckEnvelope(std::string_view type, std::string_view bytes) {
  const gantry::image::Descriptor target{"application/x", gantry::Digest::Of("x"), 1};
  Accepts([&] {
    const NotaryEnvelope envelope = NotaryEnvelope::Parse(type, bytes);
    Require(!envelope.chain.empty() && envelope.chain.front().key()->Goes(envelope.algorithm));
  });
  Require(!gantry::sign::VerifyNotary(type, bytes, target, {}, {}, 1'750'000'000).accepted);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = gantry::fuzz::Text(data, size);
  CheckEnvelope(gantry::sign::kJoseType, bytes);
  CheckEnvelope(gantry::sign::kCoseType, bytes);
  Accepts([&] { Require(gantry::sign::ParseCbor(bytes) == gantry::sign::ParseCbor(bytes)); });
  Accepts([&] { gantry::image::ReferrerLayers(bytes, gantry::Digest::Of("x")); });
  return 0;
}
