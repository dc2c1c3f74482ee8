// Private keys under a passphrase as cosign keeps them: PEM "ENCRYPTED SIGSTORE PRIVATE KEY" around a JSON document
// with a secretbox of the PKCS #8 form, whose key scrypt makes out of the passphrase. cosign and gantry read each
// other's.
#pragma once

#include <string>
#include <string_view>

#include "libsign/crypto.h"

namespace gantry::sign {

// A new box with a new salt each time: N = 65536, r = 8, p = 1, as cosign 2.
std::string SealKey(const PrivateKey& key, const SecretBytes& passphrase);

// Whether `text` looks like one; also the older "ENCRYPTED COSIGN PRIVATE KEY".
bool IsSealedKey(std::string_view text);

// Whether ReadPrivateKey will want a passphrase.
bool IsEncryptedKey(std::string_view text);

// A private key in any form that is known: sealed as above, or as PrivateKey::Parse reads. For a sealed one no
// passphrase is the empty one. kRefused when the passphrase is missing or wrong; kCorrupt; kUnsupported for scrypt
// numbers that cosign never wrote, which could cost any amount of memory.
PrivateKey ReadPrivateKey(std::string_view text, std::string_view what, const SecretBytes* passphrase);

}  // namespace gantry::sign
