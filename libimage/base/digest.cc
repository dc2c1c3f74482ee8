#include "libimage/base/digest.h"

// SHA-2 by the calls that go around OpenSSL's providers: these take most of a millisecond to begin, which is more than
// the start of a container spends on all that it hashes.
#define OPENSSL_SUPPRESS_DEPRECATED  // NOLINT(*-macro-usage): a switch of OpenSSL's headers
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

size_t RawLength(HashAlgorithm algorithm) { return algorithm == HashAlgorithm::kSha256 ? 32 : 64; }

class CheckingSource : public Source {
 public:
  CheckingSource(std::unique_ptr<Source> inner, Digest expected, std::optional<uint64_t> size, std::string what)
      : inner_(std::move(inner)),
        expected_(expected),
        size_(size),
        what_(std::move(what)),
        hasher_(expected_.algorithm()) {}

  Block Next() override {
    if (ended_)
      return {};
    Block block = inner_->Next();
    if (block.empty()) {
      End();
      return block;
    }
    if (size_ && block.size() > *size_ - seen_) {
      throw Error(ErrorKind::kCorrupt,
                  what_ + " is longer than its descriptor says (" + std::to_string(*size_) + " bytes)");
    }
    seen_ += block.size();
    hasher_.Update(block.bytes());
    return block;
  }
  std::optional<FileRange> File() const override { return inner_->File(); }
  void Took(uint64_t bytes) override { inner_->Took(bytes); }

 private:
  void End() {
    ended_ = true;
    if (size_ && seen_ != *size_) {
      throw Error(ErrorKind::kCorrupt, what_ + " ends after " + std::to_string(seen_) + " bytes, its descriptor says " +
                                           std::to_string(*size_));
    }
    RequireDigest(hasher_.Finish(), expected_, what_);
  }

  std::unique_ptr<Source> inner_;
  Digest expected_;
  std::optional<uint64_t> size_;
  std::string what_;
  Hasher hasher_;
  uint64_t seen_ = 0;
  bool ended_ = false;
};

}  // namespace

std::string_view Name(HashAlgorithm algorithm) { return algorithm == HashAlgorithm::kSha256 ? "sha256" : "sha512"; }

Digest Digest::Parse(std::string_view text) {
  if (std::optional<Digest> digest = TryParse(text))
    return *digest;
  if (text.starts_with("blake3:")) {
    throw Error(ErrorKind::kUnsupported, "digest algorithm blake3 in " + Quoted(text), "use sha256 or sha512");
  }
  throw Error(ErrorKind::kCorrupt, "bad digest " + Quoted(text),
              "a digest is 'sha256:' and 64, or 'sha512:' and 128, lower-case hexadecimal digits");
}

std::optional<Digest> Digest::TryParse(std::string_view text) {
  for (const HashAlgorithm algorithm : {HashAlgorithm::kSha256, HashAlgorithm::kSha512}) {
    const std::string_view name = Name(algorithm);
    const size_t length = RawLength(algorithm);
    if (!text.starts_with(name) || text.size() != name.size() + 1 + 2 * length || text[name.size()] != ':')
      continue;
    const std::string_view hex = text.substr(name.size() + 1);
    if (hex.find_first_not_of(kHex) != std::string_view::npos)
      continue;
    Digest digest(algorithm);
    for (size_t i = 0; i < length; ++i)
      digest.raw_[i] = static_cast<std::byte>(kHex.find(hex[2 * i]) << 4 | kHex.find(hex[2 * i + 1]));
    return digest;
  }
  return std::nullopt;
}

Digest Digest::FromRaw(HashAlgorithm algorithm, std::span<const std::byte> raw) {
  if (raw.size() != RawLength(algorithm))
    throw Error(ErrorKind::kCorrupt, "a raw digest of the wrong length");
  Digest digest(algorithm);
  std::copy(raw.begin(), raw.end(), digest.raw_.begin());
  return digest;
}

Digest Digest::Of(std::string_view bytes, HashAlgorithm algorithm) {
  Hasher hasher(algorithm);
  hasher.Update(AsBytes(bytes));
  return hasher.Finish();
}

std::span<const std::byte> Digest::raw() const { return std::span(raw_).first(RawLength(algorithm_)); }

std::string Digest::hex() const { return HexOf(AsText(raw())); }

std::string Digest::str() const { return std::string(Name(algorithm_)) + ":" + hex(); }

struct Hasher::State {
  std::variant<SHA256_CTX, SHA512_CTX> context;
};

std::string HmacSha512(std::string_view key, std::string_view bytes) {
  std::string out(RawLength(HashAlgorithm::kSha512), '\0');
  unsigned size = 0;
  if (HMAC(EVP_sha512(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(bytes.data()),
           bytes.size(), reinterpret_cast<unsigned char*>(out.data()), &size) == nullptr ||
      size != out.size())
    throw Error(ErrorKind::kFailed, "OpenSSL does not compute an HMAC");
  return out;
}

Hasher::Hasher(HashAlgorithm algorithm) : algorithm_(algorithm), state_(std::make_unique<State>()) { Restart(); }

Hasher::Hasher(const Hasher& other) : algorithm_(other.algorithm_), state_(std::make_unique<State>(*other.state_)) {}
Hasher& Hasher::operator=(const Hasher& other) { return *this = Hasher(other); }
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::Update(std::span<const std::byte> bytes) {
  if (auto* sha256 = std::get_if<SHA256_CTX>(&state_->context))
    SHA256_Update(sha256, bytes.data(), bytes.size());
  else
    SHA512_Update(&std::get<SHA512_CTX>(state_->context), bytes.data(), bytes.size());
}

void Hasher::UpdateZeros(uint64_t count) {
  static constexpr std::array<std::byte, 64 * 1024> kZeros{};
  for (uint64_t n = 0; count > 0; count -= n) {
    n = std::min<uint64_t>(count, kZeros.size());
    Update(std::span(kZeros).first(static_cast<size_t>(n)));
  }
}

Digest Hasher::Finish() {
  std::array<unsigned char, SHA512_DIGEST_LENGTH> raw{};
  if (auto* sha256 = std::get_if<SHA256_CTX>(&state_->context))
    SHA256_Final(raw.data(), sha256);
  else
    SHA512_Final(raw.data(), &std::get<SHA512_CTX>(state_->context));
  return Digest::FromRaw(algorithm_, std::as_bytes(std::span(raw)).first(RawLength(algorithm_)));
}

void Hasher::Restart() {
  if (algorithm_ == HashAlgorithm::kSha256)
    SHA256_Init(&state_->context.emplace<SHA256_CTX>());
  else
    SHA512_Init(&state_->context.emplace<SHA512_CTX>());
}

void RequireDigest(const Digest& found, const Digest& expected, const std::string& what) {
  if (found != expected)
    throw Error(ErrorKind::kCorrupt, what + " has digest " + found.str() + ", expected " + expected.str());
}

std::unique_ptr<Source> VerifyingSource(std::unique_ptr<Source> inner, Digest expected, uint64_t size,
                                        std::string what) {
  return std::make_unique<CheckingSource>(std::move(inner), expected, size, std::move(what));
}

std::unique_ptr<Source> DigestCheckingSource(std::unique_ptr<Source> inner, Digest expected, std::string what) {
  return std::make_unique<CheckingSource>(std::move(inner), expected, std::nullopt, std::move(what));
}

}  // namespace gantry
