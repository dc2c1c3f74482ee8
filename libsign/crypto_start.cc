#include "libsign/crypto_start.h"

#include <openssl/crypto.h>

#include <exception>
#include <string>
#include <system_error>

#include "libsign/crypto.h"

namespace gantry::sign {

std::jthread StartCrypto() {
  const auto start = [] {
    try {
      // Any key will do, and any signature.
      const std::string spki =
          std::string("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12) + std::string(32, '\1');
      static_cast<void>(PublicKey::Parse(spki, "no key")
                            .AcceptsDigest({Scheme::Kind::kEd25519}, std::string(32, '\0'), std::string(64, '\0')));
    } catch (const std::exception&) {
      // Whoever needs OpenSSL will hear of it.
    }
  };
  try {
    return std::jthread(start);
  } catch (const std::system_error&) {
    return {};  // no thread more is allowed
  }
}

void LeaveErrorTextsOut() { OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS, nullptr); }

}  // namespace gantry::sign
