#include "libsign/sealed_key.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::PrivateKey;
using gantry::sign::Scheme;
using gantry::sign::SecretBytes;

// A private key in any form, under the passphrase "fuzz" or none: what opens is a pair.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, size);
  const SecretBytes passphrase(std::string_view("fuzz"));
  Require(!gantry::sign::IsSealedKey(text) || gantry::sign::IsEncryptedKey(text));
  for (const SecretBytes* given : {&passphrase, static_cast<const SecretBytes*>(nullptr)}) {
    Accepts([&] {
      const PrivateKey key = gantry::sign::ReadPrivateKey(text, "fuzz", given);
      const Scheme scheme = Scheme::DefaultFor(key.public_key().kind());
      Require(key.public_key().Accepts(scheme, "message", key.Sign(scheme, "message")));
    });
  }
  return 0;
}
