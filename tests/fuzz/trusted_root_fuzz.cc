#include "libsign/trusted_root.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::TrustedRoot;

// Whoever gets into a trusted root has a key that goes with its scheme, a time from which it counts, and certificates.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Accepts([&] {
    const TrustedRoot trust = TrustedRoot::Parse(gantry::fuzz::Text(data, size), "fuzz");
    for (const auto* logs : {&trust.tlogs, &trust.ctlogs}) {
      for (const auto& log : *logs) Require(log.key.Goes(log.scheme) && log.valid_for.from.has_value());
    }
    for (const auto* authorities : {&trust.certificate_authorities, &trust.timestamp_authorities}) {
      for (const auto& authority : *authorities)
        Require(!authority.chain.empty() && authority.valid_for.from.has_value());
    }
  });
  return 0;
}
