// Keys and bare signatures, by OpenSSL (and libsodium for Ed25519ph): what a key is, and whether it made a signature.
//
// The algorithm of a signature is said by whoever trusts the key, never by the envelope around it: Accepts takes a
// Scheme, and a scheme that does not go with the key accepts nothing. Small keys, other curves, explicit curve
// parameters and SHA-1 do not get this far.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/digest.h"
#include "libsign/sodium.h"

namespace gantry::sign {

constexpr size_t kMaxPublicKeyBytes = 64 * 1024;   // of one file
constexpr size_t kMaxPrivateKeyBytes = 64 * 1024;  // of one file
constexpr unsigned kMinRsaKeyBits = 2048;
constexpr unsigned kMaxRsaKeyBits = 16384;  // what one verification may cost

enum class KeyKind { kEcdsaP256, kEcdsaP384, kEcdsaP521, kRsa, kEd25519 };

std::string_view Name(KeyKind kind);  // "ecdsa-p256", "rsa", "ed25519"
// kUsage for a name that is none.
KeyKind ParseKeyKind(std::string_view name);

enum class KeyHash { kSha256, kSha384, kSha512 };

// The raw hash of `bytes`.
std::string Hash(KeyHash hash, std::string_view bytes);

// A hash of what comes in parts. Move-only.
class MessageHash {
 public:
  explicit MessageHash(KeyHash hash);
  explicit MessageHash(Hasher begun);  // goes on from there
  MessageHash(MessageHash&&) noexcept;
  MessageHash& operator=(MessageHash&&) noexcept;
  ~MessageHash();
  void Update(std::string_view bytes);
  std::string Finish();  // raw; the last call

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The raw SHA-1 of `bytes`, by which OpenPGP names its keys. It vouches for nothing.
std::string Sha1(std::string_view bytes);

// How a signature is computed. ECDSA signatures are DER (X.509, sigstore) or r and s in equal halves (JWS, COSE).
// RSA-PSS has MGF1 with the same hash and a salt of its length.
struct Scheme {
  enum class Kind { kEcdsaDer, kEcdsaRaw, kRsaPkcs1v15, kRsaPss, kEd25519, kEd25519ph };
  Kind kind = Kind::kEcdsaDer;
  KeyHash hash = KeyHash::kSha256;  // says nothing for Ed25519 and Ed25519ph

  std::string Name() const;  // "ecdsa-sha256", "rsa-pkcs1v15-sha512", "ed25519ph"
  // One of those names ("ecdsa-raw-sha256" has none of its own); nullopt for any other.
  static std::optional<Scheme> Parse(std::string_view name);
  // What the containers tools and cosign expect of a bare key: SHA-256 whatever the curve, PKCS #1 v1.5, pure Ed25519.
  static Scheme DefaultFor(KeyKind kind);
  friend bool operator==(const Scheme&, const Scheme&) = default;
};

class PublicKey {
 public:
  // One PEM block "PUBLIC KEY" or "RSA PUBLIC KEY", or the DER of a SubjectPublicKeyInfo; nothing before or behind it
  // but white space. `what` names it in errors. kCorrupt, kUnsupported for kinds and sizes that are not ours.
  static PublicKey Parse(std::string_view text, std::string_view what);

  KeyKind kind() const { return kind_; }
  unsigned bits() const { return bits_; }
  const std::string& spki() const { return spki_; }                // DER
  const std::string& fingerprint() const { return fingerprint_; }  // SHA-256 of spki(), 64 lower-case digits
  std::string ToPem() const;

  bool Goes(const Scheme& scheme) const;  // whether keys of this kind sign so
  bool Accepts(const Scheme& scheme, std::string_view message, std::string_view signature) const;
  // Of the message only its hash, by the scheme's. What Ed25519 signs is that hash, as in OpenPGP.
  bool AcceptsDigest(const Scheme& scheme, std::string_view digest, std::string_view signature) const;

  friend bool operator==(const PublicKey& a, const PublicKey& b) { return a.spki_ == b.spki_; }

 private:
  friend class PrivateKey;
  struct Native;
  explicit PublicKey(std::shared_ptr<const Native> native, std::string_view what);

  std::shared_ptr<const Native> native_;
  KeyKind kind_ = KeyKind::kEcdsaP256;
  unsigned bits_ = 0;
  std::string spki_;
  std::string fingerprint_;
};

using AskPin = std::function<SecretBytes()>;

// Its numbers lie in OpenSSL's secure heap, which is locked and wiped. Move-only.
class PrivateKey {
 public:
  static PrivateKey Generate(KeyKind kind, unsigned rsa_bits = 3072);

  // PKCS #8, PEM or DER, in the clear or encrypted (PBES2), or what OpenSSL wrote before PKCS #8 ("EC PRIVATE KEY",
  // "RSA PRIVATE KEY"). kRefused when the passphrase is missing or wrong; kCorrupt; kUnsupported as for public keys.
  static PrivateKey Parse(std::string_view text, std::string_view what, const SecretBytes* passphrase = nullptr);

  // A key that stays in its token, behind a PKCS #11 URI (RFC 7512); pin-source=file:/PATH in it names a file with the
  // PIN, else `ask` is called when one is needed. kUsage for a URI with a PIN in it, kUnsupported when OpenSSL has
  // neither a provider nor an engine, kRefused for a wrong PIN where OpenSSL tells (by an engine), kNotFound when there
  // is no such key.
  static PrivateKey FromPkcs11(const std::string& uri, const AskPin& ask);

  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  const PublicKey& public_key() const { return public_key_; }
  // kUnsupported when the scheme does not go with the key.
  std::string Sign(const Scheme& scheme, std::string_view message) const;

  SecretBytes ToPkcs8() const;  // DER, in the clear
  // PEM, encrypted with AES-256 and PBKDF2-SHA-256.
  std::string ToEncryptedPem(const SecretBytes& passphrase) const;

 private:
  explicit PrivateKey(PublicKey public_key) : public_key_(std::move(public_key)) {}
  static PrivateKey FromNative(std::shared_ptr<const PublicKey::Native> native, std::string_view what);
  PublicKey public_key_;  // its Native is the pair
};

// scrypt (RFC 7914); nullopt where OpenSSL refuses the numbers. `n` is a power of two.
std::optional<SecretBytes> Scrypt(const SecretBytes& passphrase, std::string_view salt, uint64_t n, uint64_t r,
                                  uint64_t p, size_t size);

}  // namespace gantry::sign
