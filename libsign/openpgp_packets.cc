#include "libsign/openpgp_packets.h"

#include <algorithm>
#include <array>
#include <set>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/layer/decompress_whole.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kArmorBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
constexpr std::string_view kArmorEnd = "-----END PGP PUBLIC KEY BLOCK-----";
constexpr std::string_view kAnyArmor = "-----BEGIN PGP ";

uint8_t ByteAt(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

// A big-endian number of `count` bytes at `at`, which moves behind it; nullopt when they are not there.
std::optional<size_t> TakeNumber(std::string_view text, size_t& at, size_t count) {
  if (count > text.size() - at) {
    return std::nullopt;
  }
  size_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    value = value << 8 | ByteAt(text, at + i);
  }
  at += count;
  return value;
}

bool MayBePartial(PacketTag tag) {
  const auto number = static_cast<int>(tag);
  return tag == PacketTag::kCompressed || tag == PacketTag::kLiteral || number == 9 || number == 18;
}

// Lengths of new-format packets (4.2.2). `at` is at the length and ends behind the body, whose parts are appended to
// `content` unless it is null; false when they do not fit.
bool SkipNewBody(std::string_view text, size_t& at, PacketTag tag, size_t& body, std::string* content) {
  body = std::string_view::npos;
  while (true) {
    const auto first = TakeNumber(text, at, 1);
    if (!first) {
      return false;
    }
    const bool partial = *first >= 224 && *first < 255;
    size_t length = *first;
    if (*first >= 192 && *first < 224) {
      const auto second = TakeNumber(text, at, 1);
      if (!second) {
        return false;
      }
      length = ((*first - 192) << 8) + *second + 192;
    } else if (partial) {
      length = size_t{1} << (*first & 0x1f);
    } else if (*first == 255) {
      const auto four = TakeNumber(text, at, 4);
      if (!four) {
        return false;
      }
      length = *four;
    }
    if (length > text.size() - at || (partial && !MayBePartial(tag))) {
      return false;
    }
    body = std::min(body, at);
    if (content != nullptr) {
      content->append(text.substr(at, length));
    }
    at += length;
    if (!partial) {
      return true;
    }
  }
}

// Lengths of old-format packets (4.2.1).
bool SkipOldBody(std::string_view text, size_t& at, PacketTag tag, unsigned length_type, size_t& body,
                 std::string* content) {
  size_t length = text.size() - at;
  if (length_type == 3) {
    if (!MayBePartial(tag)) {
      return false;
    }
  } else {
    const auto number = TakeNumber(text, at, size_t{1} << length_type);
    if (!number || *number > text.size() - at) {
      return false;
    }
    length = *number;
  }
  body = at;
  at += length;
  if (content != nullptr) {
    content->append(text.substr(body, length));
  }
  return true;
}

std::optional<Packet> TakePacket(std::string_view text, size_t& at, std::string* content = nullptr) {
  const size_t start = at;
  const uint8_t header = ByteAt(text, at++);
  if ((header & 0x80) == 0) {
    return std::nullopt;
  }
  const bool new_format = (header & 0x40) != 0;
  const auto tag = static_cast<PacketTag>(new_format ? header & 0x3f : (header >> 2) & 0x0f);
  size_t body = 0;
  const bool fits =
      new_format ? SkipNewBody(text, at, tag, body, content) : SkipOldBody(text, at, tag, header & 3, body, content);
  if (!fits) {
    return std::nullopt;
  }
  return Packet{tag, text.substr(start, at - start), text.substr(body, at - body)};
}

std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) {
    line.remove_suffix(1);
  }
  return line;
}

[[noreturn]] void RefuseKey(std::string_view what, const std::string& problem) {
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + problem,
              "a key file holds public keys as 'gpg --export' writes them, binary or with --armor");
}

// One armored block from behind its first line. The CRC is not checked (RFC 9580, 6.1): framing and self-signatures
// are.
std::string DecodeBlock(std::string_view& text, std::string_view what) {
  while (!text.empty() && !TakeLine(text).empty()) {
  }
  std::string base64;
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    if (line == kArmorEnd) {
      if (auto decoded = DecodeBase64(base64)) {
        return *decoded;
      }
      RefuseKey(what, "its armor is damaged");
    }
    if (!line.starts_with('=')) {
      base64.append(line);
    }
  }
  RefuseKey(what, "its armor has no end");
}

std::string Dearmor(std::string_view file, std::string_view what) {
  std::string out;
  while (!file.empty()) {
    const std::string_view line = TakeLine(file);
    if (line == kArmorBegin) {
      out += DecodeBlock(file, what);
    } else if (line.starts_with(kAnyArmor)) {
      RefuseKey(what, "it holds " + Quoted(line) + " where public keys belong");
    }
  }
  return out;
}

// All of `text` must be one armored block with a signature.
std::optional<std::string> DecodeSignatureBlock(std::string_view text) {
  constexpr std::string_view kBegin = "-----BEGIN PGP SIGNATURE-----";
  constexpr std::string_view kEnd = "-----END PGP SIGNATURE-----";
  if (TakeLine(text) != kBegin) {
    return std::nullopt;
  }
  while (!text.empty() && !TakeLine(text).empty()) {
  }
  std::string base64;
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    if (line == kEnd) {
      return text.find_first_not_of(" \t\r\n") == text.npos ? DecodeBase64(base64) : std::nullopt;
    }
    if (!line.starts_with('=')) {
      base64.append(line);
    }
  }
  return std::nullopt;
}

// RSA (1 to 3) and DSA (17) keys of version 4 name their size in the first number, at a fixed place (5.5.2).
bool TooWeak(std::string_view key, unsigned min_bits) {
  if (key.size() < 8 || ByteAt(key, 0) != 4) {
    return key.empty() || ByteAt(key, 0) < 4;
  }
  const uint8_t algorithm = ByteAt(key, 5);
  const bool sized = (algorithm >= 1 && algorithm <= 3) || algorithm == 17;
  return sized && (ByteAt(key, 6) << 8 | ByteAt(key, 7)) < static_cast<int>(min_bits);
}

std::vector<PacketTag> TagsOf(std::string_view bytes) {
  std::vector<PacketTag> tags;
  const auto packets = WalkPackets(bytes, 3);
  for (const Packet& packet : packets ? *packets : std::vector<Packet>{}) {
    tags.push_back(packet.tag);
  }
  return tags;
}

bool IsSignatureAndLiteral(const std::vector<PacketTag>& tags) {
  using enum PacketTag;
  return tags == std::vector{kOnePassSignature, kLiteral, kSignature} || tags == std::vector{kSignature, kLiteral};
}

// RFC 4880, 6.1.
uint32_t Crc24(std::string_view bytes) {
  uint32_t crc = 0xb704ce;
  for (size_t at = 0; at < bytes.size(); ++at) {
    crc ^= static_cast<uint32_t>(ByteAt(bytes, at)) << 16;
    for (int bit = 0; bit < 8; ++bit) {
      crc <<= 1;
      if ((crc & 0x1000000) != 0) {
        crc ^= 0x1864cfb;
      }
    }
  }
  return crc & 0xffffff;
}

// The body of the one packet that `bytes` are, its parts joined.
std::string ContentOf(std::string_view bytes) {
  std::string content;
  size_t at = 0;
  TakePacket(bytes, at, &content);
  return content;
}

constexpr char kBzip2 = 3;

// The packets in the one compressed packet that `bytes` are, else `bytes`; nullopt when it cannot be opened here.
std::optional<std::string> Opened(std::string_view bytes, size_t max_content) {
  if (TagsOf(bytes) != std::vector{PacketTag::kCompressed}) {
    return std::string(bytes);
  }
  const std::string content = ContentOf(bytes);
  const std::string_view compressed = std::string_view(content).substr(std::min<size_t>(content.size(), 1));
  switch (content.empty() ? kBzip2 : content[0]) {
    case 0:
      return std::string(compressed);
    case 1:
      return image::InflateWhole(compressed, image::DeflateWrapping::kRaw, max_content);
    case 2:
      return image::InflateWhole(compressed, image::DeflateWrapping::kZlib, max_content);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<std::vector<Packet>> WalkPackets(std::string_view bytes, size_t max_packets) {
  std::vector<Packet> packets;
  for (size_t at = 0; at < bytes.size();) {
    const auto packet = TakePacket(bytes, at);
    if (!packet || packets.size() == max_packets) {
      return std::nullopt;
    }
    packets.push_back(*packet);
  }
  return packets;
}

bool IsOneSignedMessage(std::string_view bytes, size_t max_content) {
  if (TagsOf(bytes) == std::vector{PacketTag::kCompressed} && ContentOf(bytes).starts_with(kBzip2)) {
    return true;
  }
  const std::optional<std::string> opened = Opened(bytes, max_content);
  return opened && IsSignatureAndLiteral(TagsOf(*opened));
}

std::optional<SignedMessageParts> TakeApart(std::string_view bytes, size_t max_content) {
  const std::optional<std::string> opened = Opened(bytes, max_content);
  if (!opened || !IsSignatureAndLiteral(TagsOf(*opened))) {
    return std::nullopt;
  }
  SignedMessageParts parts;
  for (size_t at = 0; at < opened->size();) {
    std::string content;
    const auto packet = TakePacket(*opened, at, &content);
    const PacketTag tag = packet ? packet->tag : PacketTag::kUserId;
    (tag == PacketTag::kLiteral     ? parts.literal
     : tag == PacketTag::kSignature ? parts.signature
                                    : parts.one_pass) = std::move(content);
  }
  return parts;
}

std::optional<std::string> DecodeDetachedSignature(std::string_view file) {
  std::string decoded(file);
  if (file.empty() || (ByteAt(file, 0) & 0x80) == 0) {
    auto block = DecodeSignatureBlock(file);
    if (!block) {
      return std::nullopt;
    }
    decoded = *std::move(block);
  }
  const auto packets = WalkPackets(decoded, 1);
  constexpr uint8_t kVersion = 4;
  constexpr uint8_t kOfBinaryDocument = 0;
  const bool good = packets && packets->size() == 1 && packets->front().tag == PacketTag::kSignature &&
                    packets->front().body.size() > 2 && ByteAt(packets->front().body, 0) == kVersion &&
                    ByteAt(packets->front().body, 1) == kOfBinaryDocument;
  return good ? std::optional(std::move(decoded)) : std::nullopt;
}

std::string DecodePublicKeys(std::string_view file, std::string_view what, unsigned min_rsa_bits) {
  const bool binary = !file.empty() && (ByteAt(file, 0) & 0x80) != 0;
  const std::string decoded = binary ? std::string(file) : Dearmor(file, what);
  const auto packets = WalkPackets(decoded);
  if (!packets) {
    RefuseKey(what, "the OpenPGP packets in it are damaged");
  }
  std::string ring;
  bool weak_seen = false;
  bool keeping = false;
  bool primary_kept = false;
  for (const Packet& packet : *packets) {
    switch (packet.tag) {
      case PacketTag::kSecretKey:
      case PacketTag::kSecretSubkey:
        RefuseKey(what, "it holds a secret key");
      case PacketTag::kPublicKey:
        keeping = primary_kept = !TooWeak(packet.body, min_rsa_bits);
        weak_seen = weak_seen || !keeping;
        break;
      case PacketTag::kPublicSubkey:
        keeping = primary_kept && !TooWeak(packet.body, min_rsa_bits);
        break;
      case PacketTag::kUserId:
      case PacketTag::kUserAttribute:
      case PacketTag::kSignature:
        break;
      default:  // among them gpg's own trust packets, which would vouch for signatures unchecked
        continue;
    }
    if (keeping) {
      ring.append(packet.bytes);
    }
  }
  if (ring.empty()) {
    RefuseKey(what, weak_seen ? "its keys are too weak (RSA under 2048 bits)" : "no OpenPGP public key in it");
  }
  return ring;
}

std::string ArmorPublicKeys(std::string_view ring) {
  constexpr size_t kLineBytes = 64;
  const std::string base64 = EncodeBase64(ring);
  std::string text = std::string(kArmorBegin) + "\n\n";
  for (size_t at = 0; at < base64.size(); at += kLineBytes) {
    text += base64.substr(at, kLineBytes) + "\n";
  }
  const uint32_t crc = Crc24(ring);
  const std::string bytes = {static_cast<char>(crc >> 16), static_cast<char>(crc >> 8), static_cast<char>(crc)};
  return text + "=" + EncodeBase64(bytes) + "\n" + std::string(kArmorEnd) + "\n";
}

std::vector<std::string_view> PrimaryKeys(std::string_view ring) {
  std::vector<std::string_view> primaries;
  const std::optional<std::vector<Packet>> packets = WalkPackets(ring);
  for (const Packet& packet : packets ? *packets : std::vector<Packet>{}) {
    if (packet.tag == PacketTag::kPublicKey) {
      primaries.push_back(packet.body);
    }
  }
  return primaries;
}

bool HasDuplicates(std::string_view ring) {
  const auto primaries = PrimaryKeys(ring);
  return std::set<std::string_view>(primaries.begin(), primaries.end()).size() != primaries.size();
}

}  // namespace gantry::sign
