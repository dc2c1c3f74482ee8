// Passphrases of private keys: from the environment, a file, standard input or the terminal, never from the command
// line.
#pragma once

#include <string>

#include "libsign/sodium.h"

namespace gantry::tools {

struct PassphraseSource {
  std::string file;  // --passphrase-file: its first line; "-" is standard input; empty: as cosign does
};

// What `what` ("key 'x.key'") is under. Without a file: COSIGN_PASSWORD if it is set, even to nothing; else a question
// on the terminal; else the first line of standard input. `anew` asks twice, for a passphrase that is being chosen.
sign::SecretBytes ReadPassphrase(const PassphraseSource& source, const std::string& what, bool anew = false);

// The PIN of a token: as above, but in the environment as COSIGN_PKCS11_PIN; a passphrase of files is none.
sign::SecretBytes ReadPin(const PassphraseSource& source);

}  // namespace gantry::tools
