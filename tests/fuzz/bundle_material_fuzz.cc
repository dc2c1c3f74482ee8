#include "libsign/keyless.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::CertificateMaterial;

// What comes with a signature is read or refused, and where nobody is trusted nothing is accepted.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, size);
  Accepts([&] {
    const gantry::json::Value document = gantry::json::Parse(text, "fuzz");
    const auto material = CertificateMaterial::Parse(gantry::json::Cursor(document, "fuzz"));
    const gantry::sign::SignedContent content{"artifact", "signature", {}, "payload"};
    for (const bool require_entry : {true, false}) {
      gantry::sign::KeylessRules rules;
      rules.require_entry = require_entry;
      const auto verdict = VerifyKeyless(content, material, {}, rules);
      Require(!verdict.accepted && !verdict.code.empty() && !verdict.steps.back().passed);
    }
    Require(!VerifyPki(content, material, {}, {}, {.email = "a@b.example"}).accepted);
  });
  return 0;
}
