// The keys that gantry-sign signs with: in gpg's hands, in files, in the environment, behind PKCS #11.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libsign/crypto.h"
#include "tools/passphrase.h"

namespace gantry::tools {

constexpr size_t kMaxSigners = 64;

struct Signer {
  std::optional<sign::PrivateKey> key;          // a bare key; else
  std::string openpgp;                          // what gpg calls its key, and
  std::optional<sign::SecretBytes> passphrase;  // what it is under; else gpg-agent asks
};

// Each of `keys`, in order: "env://NAME", "pkcs11:..." (RFC 7512), a file with a private key, or else an OpenPGP key. A
// passphrase is asked for where a key is under one, that of an OpenPGP key only where `passphrase` has a file: each
// takes its line of standard input. Before Confine, for a terminal obeys nobody who is confined. kUnsupported for PKCS
// #11 where OpenSSL has nothing for it.
std::vector<Signer> OpenSigners(const std::vector<std::string>& keys, const PassphraseSource& passphrase);

}  // namespace gantry::tools
