#include "libsign/openpgp_key.h"

#include <algorithm>
#include <array>
#include <utility>

#include "libimage/base/error.h"
#include "libsign/big_endian.h"

namespace gantry::sign {
namespace {

constexpr uint8_t kCriticalBit = 0x80;
constexpr size_t kHashAt = 3;  // of a signature

// More gpg does not read.
constexpr size_t kMaxSubpacketBytes = 10'000;

constexpr uint8_t kRsa = 1;
constexpr uint8_t kRsaToEncrypt = 2;
constexpr uint8_t kRsaToSign = 3;
constexpr uint8_t kElgamal = 16;
constexpr uint8_t kDsa = 17;
constexpr uint8_t kEcdh = 18;
constexpr uint8_t kEcdsa = 19;
constexpr uint8_t kEdDsa = 22;

// A signature with a critical subpacket that gpg does not heed counts for nothing, and which it heeds depends on its
// version.
bool MayBeCritical(uint8_t type) {
  constexpr auto kEveryGpg =
      std::to_array<uint8_t>({kCreated, kKeyExpires, kIssuer, kKeyFlags, kEmbedded, kIssuerFingerprint});
  return std::find(kEveryGpg.begin(), kEveryGpg.end(), type) != kEveryGpg.end();
}

std::optional<std::vector<Subpacket>> ParseSubpackets(std::string_view area) {
  if (area.size() > kMaxSubpacketBytes)
    return std::nullopt;
  std::vector<Subpacket> subpackets;
  Octets octets(area);
  while (!octets.done()) {
    uint64_t length = octets.Number(1);
    if (length == 255)
      length = octets.Number(4);
    else if (length >= 192)
      length = ((length - 192) << 8) + octets.Number(1) + 192;
    const std::string_view whole = octets.Take(length);
    if (!octets.good() || whole.empty())
      return std::nullopt;
    const auto first = static_cast<uint8_t>(whole[0]);
    const auto type = static_cast<uint8_t>(first & ~kCriticalBit);
    if (type != first && !MayBeCritical(type))
      return std::nullopt;
    subpackets.push_back({type, whole.substr(1)});
  }
  return subpackets;
}

// All but which hash it is.
std::optional<OpenPgpSignature> ParseFields(std::string_view body) {
  Octets octets(body);
  const uint64_t version = octets.Number(1);
  OpenPgpSignature signature;
  signature.type = static_cast<uint8_t>(octets.Number(1));
  signature.key_algorithm = static_cast<uint8_t>(octets.Number(1));
  octets.Take(1);
  const auto hashed = ParseSubpackets(octets.Take(octets.Number(2)));
  signature.hashed_part = body.substr(0, body.size() - octets.rest().size());
  const auto unhashed = ParseSubpackets(octets.Take(octets.Number(2)));
  octets.Take(2);  // the beginning of the digest, a hint
  signature.numbers = octets.rest();
  if (!octets.good() || version != kOpenPgpVersion || !hashed || !unhashed)
    return std::nullopt;
  signature.hashed = *hashed;
  signature.unhashed = *unhashed;
  return signature;
}

std::optional<KeyHash> HashOf(uint64_t number) {
  switch (number) {
    case 8:
      return KeyHash::kSha256;
    case 9:
      return KeyHash::kSha384;
    case 10:
      return KeyHash::kSha512;
    default:
      return std::nullopt;
  }
}

unsigned BitsOf(KeyHash hash) {
  switch (hash) {
    case KeyHash::kSha256:
      return 256;
    case KeyHash::kSha384:
      return 384;
    case KeyHash::kSha512:
      break;
  }
  return 512;
}

// Whether `numbers` are those of a key (5.5.2; RFC 6637, 9), and nothing follows them.
bool AreWhole(uint8_t algorithm, Octets numbers) {
  const auto take = [&](int count) {
    while (count-- > 0) numbers.BigNumber();
  };
  switch (algorithm) {
    case kRsa:
    case kRsaToEncrypt:
    case kRsaToSign:
      take(2);
      break;
    case kElgamal:
      take(3);
      break;
    case kDsa:
      take(4);
      break;
    case kEcdh:
    case kEcdsa:
    case kEdDsa:
      numbers.Take(numbers.Number(1));  // the curve
      take(1);
      if (algorithm == kEcdh)
        numbers.Take(numbers.Number(1));  // how keys are derived
      break;
    default:
      return false;
  }
  return numbers.done();
}

std::string Der(char tag, const std::string& content) {
  std::string length;
  if (content.size() < 0x80)
    length = BigEndian(content.size(), 1);
  else
    length = content.size() < 0x100 ? "\x81" + BigEndian(content.size(), 1) : "\x82" + BigEndian(content.size(), 2);
  return tag + length + content;
}
std::string DerInteger(std::string_view number) {
  const bool high = (static_cast<uint8_t>(number[0]) & 0x80) != 0;
  return Der(0x02, (high ? std::string(1, '\0') : std::string()) + std::string(number));
}
std::string SubjectPublicKeyInfo(const std::string& algorithm, std::string_view key) {
  return Der(0x30, Der(0x30, algorithm) + Der(0x03, std::string(1, '\0') + std::string(key)));
}

// What lies behind the fixed part of a key (5.5.2; RFC 6637, 9) as others write it; empty for what is not plain.
std::string ToSpki(uint8_t algorithm, Octets numbers) {
  constexpr std::string_view kEd25519 = "\x2b\x06\x01\x04\x01\xda\x47\x0f\x01";
  constexpr std::string_view kP256 = "\x2a\x86\x48\xce\x3d\x03\x01\x07";
  constexpr std::string_view kP384("\x2b\x81\x04\x00\x22", 5);
  constexpr std::string_view kP521("\x2b\x81\x04\x00\x23", 5);
  using namespace std::string_literals;
  if (algorithm == kRsa) {
    const std::string_view modulus = numbers.BigNumber();
    const std::string_view exponent = numbers.BigNumber();
    if (!numbers.done())
      return "";
    return SubjectPublicKeyInfo("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"s,
                                Der(0x30, DerInteger(modulus) + DerInteger(exponent)));
  }
  if (algorithm != kEcdsa && algorithm != kEdDsa)
    return "";
  const std::string_view curve = numbers.Take(numbers.Number(1));
  const std::string_view point = numbers.BigNumber();
  if (!numbers.done())
    return "";
  if (algorithm == kEdDsa) {
    const bool plain = curve == kEd25519 && point.size() == 33 && point[0] == 0x40;
    return plain ? SubjectPublicKeyInfo("\x06\x03\x2b\x65\x70"s, point.substr(1)) : "";
  }
  constexpr char kUncompressed = 0x04;
  if ((curve != kP256 && curve != kP384 && curve != kP521) || point[0] != kUncompressed)
    return "";
  return SubjectPublicKeyInfo("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"s + Der(0x06, std::string(curve)), point);
}

std::string Padded(std::string_view number, size_t size) {
  return number.size() > size ? "" : std::string(size - number.size(), '\0') + std::string(number);
}

}  // namespace

std::optional<OpenPgpSignature> OpenPgpSignature::Parse(std::string_view body) {
  std::optional<OpenPgpSignature> signature = ParseFields(body);
  const auto hash = HashOf(static_cast<uint8_t>(body.size() > kHashAt ? body[kHashAt] : 0));
  if (!signature || !hash)
    return std::nullopt;
  signature->hash = *hash;
  return signature;
}

bool OpenPgpSignature::IsWhole(std::string_view body) {
  const auto signature = ParseFields(body);
  if (!signature)
    return false;
  Octets numbers(signature->numbers);
  do {
    numbers.BigNumber();
  } while (numbers.good() && !numbers.done());
  return numbers.done();
}

std::optional<OpenPgpKey> OpenPgpKey::Parse(std::string_view body) {
  Octets octets(body);
  const uint64_t version = octets.Number(1);
  OpenPgpKey key;
  key.created = static_cast<int64_t>(octets.Number(4));
  key.algorithm = static_cast<uint8_t>(octets.Number(1));
  if (!AreWhole(key.algorithm, octets) || version != kOpenPgpVersion || body.size() > 0xffff)
    return std::nullopt;
  key.body = body;
  key.fingerprint = Sha1(key.Hashed());
  return key;
}
std::string OpenPgpKey::Hashed() const { return "\x99" + BigEndian(body.size(), 2) + std::string(body); }

bool OpenPgpKey::Open() {
  const std::string spki = ToSpki(algorithm, Octets(body.substr(6)));
  try {
    if (!spki.empty())
      key_ = PublicKey::Parse(spki, "OpenPGP key");
  } catch (const Error&) {
    // Too small, or no point of its curve.
  }
  return key_.has_value();
}

bool OpenPgpKey::Fits(const OpenPgpSignature& signature) const {
  return key_ && signature.key_algorithm == algorithm &&
         (algorithm != kEcdsa || BitsOf(signature.hash) >= std::min(key_->bits(), BitsOf(KeyHash::kSha512)));
}

bool OpenPgpKey::Made(const OpenPgpSignature& signature, std::string_view content) const {
  MessageHash hash(signature.hash);
  hash.Update(content);
  return Made(signature, std::move(hash));
}

bool OpenPgpKey::Made(const OpenPgpSignature& signature, MessageHash content) const {
  Octets numbers(signature.numbers);
  const std::string_view first = numbers.BigNumber();
  const std::string_view second = algorithm == kRsa ? std::string_view() : numbers.BigNumber();
  if (!Fits(signature) || !numbers.done())
    return false;
  content.Update(signature.hashed_part);
  content.Update(std::string("\x04\xff") + BigEndian(signature.hashed_part.size(), 4));
  const std::string digest = content.Finish();
  const size_t size = (key_->bits() + 7) / 8;
  switch (algorithm) {
    case kRsa:
      return key_->AcceptsDigest({Scheme::Kind::kRsaPkcs1v15, signature.hash}, digest, Padded(first, size));
    case kEcdsa:
      return key_->AcceptsDigest({Scheme::Kind::kEcdsaRaw, signature.hash}, digest,
                                 Padded(first, size) + Padded(second, size));
    default:
      return key_->AcceptsDigest({Scheme::Kind::kEd25519, signature.hash}, digest,
                                 Padded(first, 32) + Padded(second, 32));
  }
}

}  // namespace gantry::sign
