// OpenPGP framing (RFC 4880, sections 4 and 6), without any cryptography: where packets begin and end, armor around
// public keys. For deciding what gpg is given at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::sign {

constexpr size_t kMaxPackets = 100'000;  // of one key file

enum class PacketTag : uint8_t {
  kSignature = 2,
  kOnePassSignature = 4,
  kSecretKey = 5,
  kPublicKey = 6,
  kSecretSubkey = 7,
  kCompressed = 8,
  kLiteral = 11,
  kUserId = 13,
  kPublicSubkey = 14,
  kUserAttribute = 17,
};

struct Packet {
  PacketTag tag;           // also of packets that have no name here
  std::string_view bytes;  // header and body
  std::string_view body;   // with the lengths of its parts still in it where it was written in parts
};

// The packets that `bytes` consist of; nullopt when they do not end where the last packet ends, or are too many.
std::optional<std::vector<Packet>> WalkPackets(std::string_view bytes, size_t max_packets = kMaxPackets);

// Whether `bytes` are exactly one signed message: one signature over one literal packet, in either order, and nothing
// else; bare, or as all that one compressed packet holds. A compressed packet says nothing of its length, so it is
// opened to see (up to `max_content` bytes); only bzip2, which hardly any signer chooses, is left to gpg.
bool IsOneSignedMessage(std::string_view bytes, size_t max_content);

// The bodies of such a message's packets, the parts of each joined.
struct SignedMessageParts {
  std::string one_pass;  // empty where the signature comes first
  std::string literal;
  std::string signature;
};
// nullopt for what is no such message, and for one inside bzip2.
std::optional<SignedMessageParts> TakeApart(std::string_view bytes, size_t max_content);

// The one signature packet in a detached signature over bytes, binary or in one armored block with nothing around it:
// version 4 and of the type for binary documents, for others may hold for other bytes, too. nullopt for anything else,
// several signatures among it.
std::optional<std::string> DecodeDetachedSignature(std::string_view file);

// The public keys in a key file, binary or in any number of armored blocks, as gpg's pubring.gpg holds them: RSA keys
// under `min_rsa_bits` and packets that do not belong to public keys left out. kCorrupt, naming `what`, when there is
// no key left, or one is secret.
std::string DecodePublicKeys(std::string_view file, std::string_view what, unsigned min_rsa_bits);

// Such a ring as text (RFC 4880, 6.2), with the checksum that old readers ask for.
std::string ArmorPublicKeys(std::string_view ring);

// The bodies of the primary key packets of a ring that DecodePublicKeys made.
std::vector<std::string_view> PrimaryKeys(std::string_view ring);
// Whether one primary key came in several versions, each of which may say what the others do not.
bool HasDuplicates(std::string_view ring);

}  // namespace gantry::sign
