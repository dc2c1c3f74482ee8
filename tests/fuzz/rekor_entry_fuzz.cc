#include "libsign/rekor.h"
#include "libsign/timestamp.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::RekorEntry;

// The body of an entry, cosign's annotation, and a timestamp response: none is about a signature that it never saw.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = gantry::fuzz::Text(data, size);
  const gantry::sign::SignedContent content{"artifact", "signature", "verifier", "payload"};
  RekorEntry entry;
  entry.body = bytes;
  Require(CheckBinding(entry, content).has_value());
  Accepts([&] {
    const RekorEntry parsed = RekorEntry::ParseCosign(bytes);
    Require(CheckEntry(parsed, content, {}, true).problem.has_value());
  });
  if (const auto token = gantry::sign::TokenOfResponse(bytes))
    Require(token->size() < bytes.size() &&
            gantry::sign::VerifyTimestampToken(*token, "message", {}, {}).problem.has_value());
  Require(gantry::sign::VerifyTimestampToken(bytes, "message", {}, {}).problem.has_value());
  return 0;
}
