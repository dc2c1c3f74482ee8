// What libsodium does for us: memory for secrets, XSalsa20-Poly1305 boxes as Go's nacl/secretbox makes them, and
// Ed25519ph, which OpenSSL 3.0 lacks.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::sign {

// Bytes that are locked in memory as far as the system allows, left out of core dumps, between guard pages, and wiped
// when they go. Move-only.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(size_t size);  // zeros
  explicit SecretBytes(std::string_view bytes);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  char* data() { return bytes_.get(); }
  std::string_view view() const { return {bytes_.get(), size_}; }
  // The bytes behind `size` are wiped.
  void Shrink(size_t size);

 private:
  struct Wipe {
    void operator()(char* bytes) const;
  };
  std::unique_ptr<char[], Wipe> bytes_;
  size_t size_ = 0;
};

// Overwrites `text` in a way that the compiler keeps.
void WipeText(std::string& text);

constexpr size_t kBoxKeyBytes = 32;
constexpr size_t kBoxNonceBytes = 24;
constexpr size_t kBoxTagBytes = 16;

// `key` has kBoxKeyBytes and `nonce` kBoxNonceBytes; anything else is kFailed. The box is kBoxTagBytes longer.
std::string SealBox(std::string_view plain, std::string_view nonce, const SecretBytes& key);
// nullopt when the box was not made with this key and nonce, or was changed.
std::optional<SecretBytes> OpenBox(std::string_view box, std::string_view nonce, const SecretBytes& key);

// Ed25519ph with an empty context (RFC 8032, 5.1): `seed` is the private key of 32 bytes.
std::string SignEd25519ph(std::string_view message, const SecretBytes& seed);
bool VerifyEd25519ph(std::string_view message, std::string_view signature, std::string_view public_key);

std::string RandomBytes(size_t size);

}  // namespace gantry::sign
