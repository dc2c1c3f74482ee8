// Content digests as the OCI image specification writes them (descriptor.md, "Digests"): "sha256:" and 64, or
// "sha512:" and 128, lower-case hexadecimal digits. A Digest exists only in that one spelling, so it is safe as a path
// component and in a URL.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "libimage/base/stream.h"

namespace gantry {

enum class HashAlgorithm { kSha256, kSha512 };

std::string_view Name(HashAlgorithm algorithm);  // "sha256", "sha512"

class Digest {
 public:
  // Rejects (kCorrupt) every other spelling; an algorithm that is registered but not ours is kUnsupported.
  static Digest Parse(std::string_view text);
  static std::optional<Digest> TryParse(std::string_view text);

  // `raw` has 32 or 64 bytes, as `algorithm` says.
  static Digest FromRaw(HashAlgorithm algorithm, std::span<const std::byte> raw);

  static Digest Of(std::string_view bytes, HashAlgorithm algorithm = HashAlgorithm::kSha256);

  HashAlgorithm algorithm() const { return algorithm_; }
  std::span<const std::byte> raw() const;  // 32 or 64 bytes, as the algorithm says
  std::string hex() const;
  std::string str() const;  // "sha256:<hex>"

  friend auto operator<=>(const Digest&, const Digest&) = default;

 private:
  explicit Digest(HashAlgorithm algorithm) : algorithm_(algorithm) {}
  HashAlgorithm algorithm_;
  std::array<std::byte, 64> raw_{};  // zeros after the end of a shorter one; ordered as their digits are
};

// The 64 bytes of RFC 2104's HMAC with SHA-512.
std::string HmacSha512(std::string_view key, std::string_view bytes);

// One running hash. A copy goes on by itself from what came so far.
class Hasher {
 public:
  explicit Hasher(HashAlgorithm algorithm = HashAlgorithm::kSha256);
  Hasher(const Hasher&);
  Hasher& operator=(const Hasher&);
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();

  HashAlgorithm algorithm() const { return algorithm_; }
  void Update(std::span<const std::byte> bytes);
  void UpdateZeros(uint64_t count);
  Digest Finish();  // the last call but for Restart
  void Restart();   // begins anew

 private:
  struct State;
  HashAlgorithm algorithm_;
  std::unique_ptr<State> state_;
};

// kCorrupt, in the words of the sources below, unless the digests are one.
void RequireDigest(const Digest& found, const Digest& expected, const std::string& what);

// Passes `inner` through, and throws kCorrupt as soon as more than `size` bytes came, or at the end when the size or
// the digest is not the expected one. `what` names the stream in errors ("layer 2 of 'x'").
std::unique_ptr<Source> VerifyingSource(std::unique_ptr<Source> inner, Digest expected, uint64_t size,
                                        std::string what);

// As above where only the digest is known beforehand (diff IDs).
std::unique_ptr<Source> DigestCheckingSource(std::unique_ptr<Source> inner, Digest expected, std::string what);

}  // namespace gantry
