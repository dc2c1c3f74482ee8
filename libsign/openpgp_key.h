// Signatures and keys of OpenPGP as values (RFC 4880, 5.2 and 5.5; RFC 6637), of version 4 and of the algorithms that
// are common: whether a key made a signature over given octets, and nothing of what that means. Internal to
// libsign/openpgp_plain.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libsign/crypto.h"

namespace gantry::sign {

constexpr uint8_t kOpenPgpVersion = 4;
constexpr size_t kKeyFingerprintBytes = 20;
constexpr size_t kKeyIdBytes = 8;

// Octets in order. What is asked for and not there makes it bad for good.
class Octets {
 public:
  explicit Octets(std::string_view bytes) : rest_(bytes) {}

  std::string_view Take(size_t count) {
    good_ = good_ && count <= rest_.size();
    const std::string_view taken = rest_.substr(0, good_ ? count : 0);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  uint64_t Number(size_t count) {
    uint64_t value = 0;
    for (const char octet : Take(count)) value = value << 8 | static_cast<uint8_t>(octet);
    return value;
  }
  // A number (3.2) of a size that gpg takes, without zeros before it: anything but its one spelling is bad.
  std::string_view BigNumber() {
    const uint64_t bits = Number(2);
    const std::string_view value = Take((bits + 7) / 8);
    const uint64_t unused = (8 - bits % 8) % 8;
    good_ = good_ && bits <= kMaxNumberBits && !value.empty() && static_cast<uint8_t>(value[0]) >> (7 - unused) == 1;
    return value;
  }

  bool good() const { return good_; }
  bool done() const { return good_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  static constexpr uint64_t kMaxNumberBits = 16384;

  std::string_view rest_;
  bool good_ = true;
};

// Types of subpackets (5.2.3.1), and of RFC 4880bis those that gpg writes.
enum SubpacketType : uint8_t {
  kCreated = 2,
  kKeyExpires = 9,
  kPreferredCiphers = 11,
  kIssuer = 16,
  kPreferredHashes = 21,
  kPreferredCompression = 22,
  kKeyServer = 23,
  kPrimaryUserId = 25,
  kKeyFlags = 27,
  kSignerUserId = 28,
  kFeatures = 30,
  kEmbedded = 32,
  kIssuerFingerprint = 33,
  kPreferredAead = 34,
};

struct Subpacket {
  uint8_t type;  // without the bit that says that it is critical
  std::string_view body;
};

// By SHA-256, SHA-384 or SHA-512. Views into what it was parsed from.
struct OpenPgpSignature {
  uint8_t type = 0;
  uint8_t key_algorithm = 0;
  KeyHash hash = KeyHash::kSha256;
  std::string_view hashed_part;  // from the version to the last hashed subpacket
  std::vector<Subpacket> hashed;
  std::vector<Subpacket> unhashed;
  std::string_view numbers;

  // nullopt for what is none, or another kind, or nothing to gpg: with more subpackets than it reads, or a critical one
  // that not every gpg heeds. The numbers are not looked at.
  static std::optional<OpenPgpSignature> Parse(std::string_view body);
  // Whether it is one of version 4, of any algorithms, to the last of its numbers.
  static bool IsWhole(std::string_view body);
};

struct OpenPgpKey {
  std::string_view body;
  std::string fingerprint;  // raw
  int64_t created = 0;
  uint8_t algorithm = 0;

  // nullopt for another version and unknown algorithms, and when it does not end with its numbers: gpg leaves out what
  // follows, so that one key would have several spellings.
  static std::optional<OpenPgpKey> Parse(std::string_view body);

  std::string_view id() const { return std::string_view(fingerprint).substr(kKeyFingerprintBytes - kKeyIdBytes); }
  // What signatures about it begin with.
  std::string Hashed() const;

  // Before Made; false for algorithms, curves and sizes that are not ours.
  bool Open();
  // Whether it makes such signatures at all: by its algorithm, and a hash as long as ECDSA with its curve needs.
  bool Fits(const OpenPgpSignature& signature) const;
  // Whether it made the signature over `content`, or over what `content` has taken by the signature's hash.
  bool Made(const OpenPgpSignature& signature, std::string_view content) const;
  bool Made(const OpenPgpSignature& signature, MessageHash content) const;

 private:
  std::optional<PublicKey> key_;
};

}  // namespace gantry::sign
