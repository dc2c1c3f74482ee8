// The plain case of an OpenPGP signature, decided without gpg, which takes longer to begin than all of the
// cryptography.
//
// Plain is: a binary document under one version 4 signature by SHA-2 and RSA, ECDSA or Ed25519; a key that is in the
// ring once and of which nothing is revoked, whose every certification by itself holds and says that it may sign and
// has not expired; and, where a subkey signed, bindings of both keys to each other. Every subpacket must be one that is
// understood here, and every size one that gpg takes. Such a signature gpg calls good, too (a test asks it). About
// everything else, whatever is wrong with it, gpg has the word: the answer here is only ever yes or none. Internal to
// libsign/openpgp.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"

namespace gantry::sign {

struct PlainMessage {
  std::string payload;
  std::string fingerprint;  // of the primary key, upper-case hexadecimal
  int64_t created = 0;
};

// `ring` is what DecodePublicKeys made. nullopt also for a payload over `max_payload` bytes.
std::optional<PlainMessage> VerifyPlainMessage(std::string_view ring, std::string_view message, size_t max_payload,
                                               int64_t now);

// A detached signature, as DecodeDetachedSignature returns it, over all of `content`. When it is plain, content is
// read, and only whether it is what was signed is open; nullopt before any of it was read.
struct PlainDetached {
  bool good = false;
  std::string key;          // that signed
  std::string fingerprint;  // of its primary key
  int64_t created = 0;
};
std::optional<PlainDetached> VerifyPlainDetached(std::string_view ring, std::string_view signature, Source& content,
                                                 int64_t now);
// The same of content that was hashed before; nullopt also when the signature rests on another hash.
std::optional<PlainDetached> VerifyPlainHashed(std::string_view ring, std::string_view signature, const Hasher& content,
                                               int64_t now);

}  // namespace gantry::sign
