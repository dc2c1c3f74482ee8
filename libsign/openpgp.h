// OpenPGP through GPGME: signed messages made with the user's keys, and verified with exactly the keys that are given.
//
// Verification never touches the user's key ring. What is plainly good is found so without gpg (openpgp_plain.h); for
// all else the keys are laid out in a private directory that is removed again, and one gpg process checks one message
// in it, offline, without an agent. The messages are those of simple signing: binary, one signature over one literal
// text (RFC 4880, 11.3). What gpg alone would let pass and must not (armor, cleartext, concatenated messages, bytes
// behind the message, SHA-1, dates in the future) is refused here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libsign/sodium.h"

namespace gantry::sign {

constexpr size_t kMaxKeyBytes = 16 * 1024 * 1024;  // of one key file
constexpr int64_t kMaxClockSkewSeconds = 300;      // a signature may be this far in the future
constexpr unsigned kMinRsaBits = 2048;

// One public key for people: its primary fingerprint and its user IDs.
struct KeyInfo {
  std::string fingerprint;  // upper-case hexadecimal
  std::vector<std::string> user_ids;
  bool usable = true;   // neither expired nor revoked nor disabled
  std::string problem;  // why not usable
};

// Why a message was not accepted; the code is stable (gantry-verify(1)).
struct BadSignature {
  std::string code;    // "unknown-key", "expired-key", ...
  std::string reason;  // for people
};

struct SignedMessage {
  std::optional<BadSignature> problem;  // when set, nothing below is
  std::string payload;                  // the bytes that were signed
  std::string fingerprint;              // of the primary key, also where a subkey signed
  int64_t created = 0;
};

// A set of public keys, and the private directory that gpg sees them in once it is needed. Move-only.
class KeyRing {
 public:
  // Each of `keys` is a file's content, binary or armored, of one or more public keys. kCorrupt when one holds no
  // OpenPGP public key, or a secret one; RSA keys under kMinRsaBits are left out. `names` are for errors.
  KeyRing(const std::vector<std::string>& keys, const std::vector<std::string>& names);
  KeyRing(KeyRing&&) noexcept;
  KeyRing& operator=(KeyRing&&) = delete;
  ~KeyRing();

  // Throws only when gpg itself cannot run; a bad message is an answer.
  SignedMessage Verify(std::string_view message) const;

  // A detached signature, armored or binary, over all of `content`; the answer has no payload. Whoever signed, the
  // whole of it was read when there is no problem. Throws what `content` throws.
  SignedMessage VerifyDetached(std::string_view signature, Source& content) const;

  // The same where all of the content was hashed before; nullopt when that does not tell: the signature rests on
  // another hash, or only gpg has the word on it.
  std::optional<SignedMessage> VerifyHashed(std::string_view signature, const Hasher& content) const;

  std::vector<KeyInfo> List() const;

 private:
  const std::string& Home() const;

  std::string ring_;
  mutable std::string home_;  // empty until it is needed
};

// The keys in the content of one key file; `what` names it in errors. kCorrupt as for KeyRing.
std::vector<KeyInfo> ReadKeyFile(const std::string& content, const std::string& what);

struct SigningKey {
  std::string key;                          // fingerprint, key ID or part of a user ID; must select one secret key
  std::optional<std::string> home;          // GNUPGHOME; nullopt is gpg's own choice
  const SecretBytes* passphrase = nullptr;  // else gpg-agent asks
};

// A binary signed message over `payload`. kNotFound when there is no such secret key, kUsage when there are several.
struct MadeSignature {
  std::string message;
  std::string fingerprint;  // of the primary key
};
MadeSignature SignMessage(std::string_view payload, const SigningKey& with);

// An armored detached signature over all of `content`. Throws what `content` throws.
MadeSignature SignDetached(Source& content, const SigningKey& with);

}  // namespace gantry::sign
