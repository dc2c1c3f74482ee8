#include "libsign/sodium.h"

#include <sodium.h>

#include <array>
#include <cstring>

#include "libimage/base/error.h"

namespace gantry::sign {
namespace {

void Start() {
  static const int kStarted = sodium_init();
  if (kStarted < 0) {
    throw Error(ErrorKind::kFailed, "libsodium cannot start");
  }
}

unsigned char* Raw(char* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* Raw(std::string_view bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

void CheckBox(std::string_view nonce, const SecretBytes& key) {
  Start();
  if (nonce.size() != kBoxNonceBytes || key.size() != kBoxKeyBytes) {
    throw Error(ErrorKind::kFailed, "a box needs a key of 32 and a nonce of 24 bytes");
  }
}

crypto_sign_ed25519ph_state Prehash(std::string_view message) {
  crypto_sign_ed25519ph_state state;
  crypto_sign_ed25519ph_init(&state);
  crypto_sign_ed25519ph_update(&state, Raw(message), message.size());
  return state;
}

}  // namespace

SecretBytes::SecretBytes(size_t size) : size_(size) {
  Start();
  bytes_.reset(static_cast<char*>(sodium_malloc(size)));
  if (bytes_ == nullptr) {
    throw Error(ErrorKind::kFailed, "no memory for a secret of " + std::to_string(size) + " bytes");
  }
  std::memset(bytes_.get(), 0, size);
}

SecretBytes::SecretBytes(std::string_view bytes) : SecretBytes(bytes.size()) {
  std::memcpy(bytes_.get(), bytes.data(), bytes.size());
}

void SecretBytes::Shrink(size_t size) {
  if (size < size_) {
    sodium_memzero(bytes_.get() + size, size_ - size);
    size_ = size;
  }
}

void SecretBytes::Wipe::operator()(char* bytes) const { sodium_free(bytes); }

void WipeText(std::string& text) {
  sodium_memzero(text.data(), text.size());
  text.clear();
}

std::string SealBox(std::string_view plain, std::string_view nonce, const SecretBytes& key) {
  CheckBox(nonce, key);
  std::string box(plain.size() + kBoxTagBytes, '\0');
  crypto_secretbox_easy(Raw(box.data()), Raw(plain), plain.size(), Raw(nonce), Raw(key.view()));
  return box;
}

std::optional<SecretBytes> OpenBox(std::string_view box, std::string_view nonce, const SecretBytes& key) {
  CheckBox(nonce, key);
  if (box.size() < kBoxTagBytes) {
    return std::nullopt;
  }
  SecretBytes plain(box.size() - kBoxTagBytes);
  if (crypto_secretbox_open_easy(Raw(plain.data()), Raw(box), box.size(), Raw(nonce), Raw(key.view())) != 0) {
    return std::nullopt;
  }
  return plain;
}

std::string SignEd25519ph(std::string_view message, const SecretBytes& seed) {
  Start();
  if (seed.size() != crypto_sign_ed25519_SEEDBYTES) {
    throw Error(ErrorKind::kFailed, "an Ed25519 key has 32 bytes");
  }
  std::array<unsigned char, crypto_sign_ed25519_PUBLICKEYBYTES> public_key{};
  SecretBytes secret(size_t{crypto_sign_ed25519_SECRETKEYBYTES});
  crypto_sign_ed25519_seed_keypair(public_key.data(), Raw(secret.data()), Raw(seed.view()));
  crypto_sign_ed25519ph_state state = Prehash(message);
  std::string signature(crypto_sign_ed25519_BYTES, '\0');
  crypto_sign_ed25519ph_final_create(&state, Raw(signature.data()), nullptr, Raw(secret.view()));
  return signature;
}

bool VerifyEd25519ph(std::string_view message, std::string_view signature, std::string_view public_key) {
  Start();
  if (signature.size() != crypto_sign_ed25519_BYTES || public_key.size() != crypto_sign_ed25519_PUBLICKEYBYTES) {
    return false;
  }
  crypto_sign_ed25519ph_state state = Prehash(message);
  // The library's prototype lacks a const; it does not write to the signature.
  auto* const bytes = const_cast<unsigned char*>(Raw(signature));
  return crypto_sign_ed25519ph_final_verify(&state, bytes, Raw(public_key)) == 0;
}

std::string RandomBytes(size_t size) {
  Start();
  std::string bytes(size, '\0');
  randombytes_buf(bytes.data(), size);
  return bytes;
}

}  // namespace gantry::sign
