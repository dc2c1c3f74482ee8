#include "libsign/openpgp_plain.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "libimage/base/fd.h"
#include "libsign/big_endian.h"
#include "libsign/openpgp_key.h"
#include "libsign/openpgp_packets.h"

namespace gantry::sign {
namespace {

// Types of signatures (RFC 4880, 5.2.1).
constexpr uint8_t kBinaryDocument = 0x00;
constexpr uint8_t kFirstCertification = 0x10;
constexpr uint8_t kLastCertification = 0x13;
constexpr uint8_t kSubkeyBinding = 0x18;
constexpr uint8_t kPrimaryKeyBinding = 0x19;

constexpr uint8_t kForSigning = 0x02;
// A longer one gpg does not read.
constexpr size_t kMaxUserIdBytes = 2048;

bool OnlyOf(const std::vector<Subpacket>& subpackets, std::initializer_list<uint8_t> types) {
  return std::all_of(subpackets.begin(), subpackets.end(), [&](const Subpacket& one) {
    return std::find(types.begin(), types.end(), one.type) != types.end();
  });
}

// The one of that type; nullopt also when there are several.
std::optional<std::string_view> TheOne(const std::vector<Subpacket>& subpackets, uint8_t type) {
  std::optional<std::string_view> found;
  for (const Subpacket& one : subpackets) {
    if (one.type != type)
      continue;
    if (found)
      return std::nullopt;
    found = one.body;
  }
  return found;
}
bool Has(const std::vector<Subpacket>& subpackets, uint8_t type) {
  return std::any_of(subpackets.begin(), subpackets.end(), [&](const Subpacket& one) { return one.type == type; });
}

// Seconds in a subpacket of four octets; nullopt when there is not just one.
std::optional<int64_t> Seconds(const OpenPgpSignature& signature, uint8_t type) {
  const auto body = TheOne(signature.hashed, type);
  if (!body || body->size() != 4)
    return std::nullopt;
  return static_cast<int64_t>(Octets(*body).Number(4));
}

// Signatures in signatures, which gpg reads whether it needs them or not.
bool EmbeddedAreWhole(const std::vector<Subpacket>& subpackets) {
  return std::all_of(subpackets.begin(), subpackets.end(),
                     [](const Subpacket& one) { return one.type != kEmbedded || OpenPgpSignature::IsWhole(one.body); });
}

// By its ID: not every gpg can tell by a fingerprint alone whose signature it is.
bool NamesIssuer(const OpenPgpSignature& signature) {
  return Has(signature.hashed, kIssuer) || Has(signature.unhashed, kIssuer);
}

// A hint that names another key would lead gpg there.
bool HintsAgree(const std::vector<Subpacket>& subpackets, const OpenPgpKey& key) {
  return std::all_of(subpackets.begin(), subpackets.end(), [&](const Subpacket& one) {
    return (one.type != kIssuer || one.body == key.id()) &&
           (one.type != kIssuerFingerprint || one.body == static_cast<char>(kOpenPgpVersion) + key.fingerprint);
  });
}

// What holds of every signature that counts: by `by`, not before that key, not in the future, nothing strange in it.
bool IsPlain(const OpenPgpSignature& signature, const OpenPgpKey& by, int64_t now,
             std::initializer_list<uint8_t> hashed) {
  const auto created = Seconds(signature, kCreated);
  return created && *created >= by.created && *created <= now && by.Fits(signature) &&
         OnlyOf(signature.hashed, hashed) && OnlyOf(signature.unhashed, {kIssuer, kIssuerFingerprint, kEmbedded}) &&
         NamesIssuer(signature) && HintsAgree(signature.hashed, by) && HintsAgree(signature.unhashed, by) &&
         EmbeddedAreWhole(signature.hashed) && EmbeddedAreWhole(signature.unhashed);
}

// What the primary key says there of `about`: it has not expired. gpg counts in 32 bits and comes out in the past for
// what is past them.
bool Lasts(const OpenPgpSignature& signature, const OpenPgpKey& about, int64_t now) {
  const auto expires = Seconds(signature, kKeyExpires);
  const bool unlimited = !Has(signature.hashed, kKeyExpires) || expires == 0;
  return unlimited || (expires && about.created + *expires > now && about.created + *expires <= UINT32_MAX);
}
// It may sign.
bool MaySign(const OpenPgpSignature& signature) {
  const auto flags = TheOne(signature.hashed, kKeyFlags);
  return flags && !flags->empty() && (static_cast<uint8_t>((*flags)[0]) & kForSigning) != 0;
}

// One primary key and what belongs to it, in the order of a ring.
class Certificate {
 public:
  Certificate(OpenPgpKey primary, std::span<const Packet> rest, int64_t now)
      : primary_(std::move(primary)), rest_(rest), now_(now) {}

  const OpenPgpKey& primary() const { return primary_; }

  // Each user ID is certified by the key, each time by a plain signature. `signs`: that lets it sign.
  bool UserIdsArePlain(bool signs) const {
    std::optional<std::string_view> user_id;
    bool certified = true;
    for (const Packet& packet : OfPrimary()) {
      if (packet.tag == PacketTag::kUserId && certified) {
        user_id = packet.body;
        certified = false;
        continue;
      }
      const auto signature = packet.tag == PacketTag::kSignature ? OpenPgpSignature::Parse(packet.body) : std::nullopt;
      if (!user_id || !signature || signature->type < kFirstCertification || signature->type > kLastCertification)
        return false;
      if (BySomebodyElse(*signature))
        continue;
      if (!Certifies(*signature, *user_id) || !Lasts(*signature, primary_, now_) || (signs && !MaySign(*signature)))
        return false;
      certified = true;
    }
    return user_id && certified;
  }

  // Everything that is said of the subkeys binds them; `signer`, unless it is null, is one that may sign and says that
  // it belongs here.
  bool SubkeysArePlain(const OpenPgpKey* signer) const {
    std::optional<OpenPgpKey> subkey;
    bool bound = true;
    for (const Packet& packet : rest_.subspan(OfPrimary().size())) {
      if (packet.tag == PacketTag::kPublicSubkey && bound) {
        subkey = OpenPgpKey::Parse(packet.body);
        bound = false;
        continue;
      }
      const auto signature = packet.tag == PacketTag::kSignature ? OpenPgpSignature::Parse(packet.body) : std::nullopt;
      if (!subkey || !signature || !Binds(*signature, *subkey) ||
          (signer != nullptr && signer->body == subkey->body && !LetsSign(*signature, *signer)))
        return false;
      bound = true;
    }
    return bound;
  }

 private:
  std::span<const Packet> OfPrimary() const {
    const auto end = std::find_if(rest_.begin(), rest_.end(),
                                  [](const Packet& packet) { return packet.tag == PacketTag::kPublicSubkey; });
    return {rest_.begin(), end};
  }

  bool BySomebodyElse(const OpenPgpSignature& signature) const {
    bool named = false;
    for (const auto* area : {&signature.hashed, &signature.unhashed}) {
      for (const Subpacket& one : *area) {
        if (one.type != kIssuer && one.type != kIssuerFingerprint)
          continue;
        if (one.body.ends_with(primary_.id()))
          return false;
        named = true;
      }
    }
    return named;
  }

  bool Certifies(const OpenPgpSignature& signature, std::string_view user_id) const {
    return IsPlain(signature, primary_, now_,
                   {kCreated, kKeyExpires, kPreferredCiphers, kIssuer, kPreferredHashes, kPreferredCompression,
                    kKeyServer, kPrimaryUserId, kKeyFlags, kFeatures, kIssuerFingerprint, kPreferredAead}) &&
           primary_.Made(signature, primary_.Hashed() + "\xb4" + BigEndian(user_id.size(), 4) + std::string(user_id));
  }

  bool Binds(const OpenPgpSignature& signature, const OpenPgpKey& subkey) const {
    return signature.type == kSubkeyBinding &&
           IsPlain(signature, primary_, now_,
                   {kCreated, kKeyExpires, kIssuer, kKeyFlags, kEmbedded, kIssuerFingerprint}) &&
           primary_.Made(signature, primary_.Hashed() + subkey.Hashed());
  }

  bool LetsSign(const OpenPgpSignature& signature, const OpenPgpKey& subkey) const {
    std::optional<std::string_view> back = TheOne(signature.hashed, kEmbedded);
    if (!back)
      back = TheOne(signature.unhashed, kEmbedded);
    const auto embedded = back ? OpenPgpSignature::Parse(*back) : std::nullopt;
    return Lasts(signature, subkey, now_) && MaySign(signature) && embedded && embedded->type == kPrimaryKeyBinding &&
           IsPlain(*embedded, subkey, now_, {kCreated, kIssuer, kIssuerFingerprint}) &&
           subkey.Made(*embedded, primary_.Hashed() + subkey.Hashed());
  }

  OpenPgpKey primary_;
  std::span<const Packet> rest_;
  int64_t now_;
};

// The key with that fingerprint, and where its primary key is in `packets`; nullopt when another one has its ID, too,
// or anything in them is of another version or damaged: gpg reads all of it.
std::optional<std::pair<OpenPgpKey, size_t>> FindKey(std::span<const Packet> packets, std::string_view fingerprint) {
  std::optional<std::pair<OpenPgpKey, size_t>> found;
  std::optional<size_t> primary;
  for (size_t i = 0; i < packets.size(); ++i) {
    const PacketTag tag = packets[i].tag;
    if (tag == PacketTag::kPublicKey)
      primary = i;
    const bool whole = (tag == PacketTag::kUserId && packets[i].body.size() <= kMaxUserIdBytes) ||
                       tag == PacketTag::kPublicKey || tag == PacketTag::kPublicSubkey ||
                       (tag == PacketTag::kSignature && OpenPgpSignature::IsWhole(packets[i].body));
    if (!whole || !primary)
      return std::nullopt;
    if (tag != PacketTag::kPublicKey && tag != PacketTag::kPublicSubkey)
      continue;
    std::optional<OpenPgpKey> key = OpenPgpKey::Parse(packets[i].body);
    if (!key)
      return std::nullopt;
    if (!fingerprint.ends_with(key->id()))
      continue;
    if (found || key->fingerprint != fingerprint)
      return std::nullopt;
    found.emplace(*std::move(key), *primary);
  }
  return found;
}

// 5.9; only binary ones: of text gpg changes the ends of lines.
std::optional<std::string_view> PayloadOf(std::string_view literal) {
  Octets octets(literal);
  const std::string_view format = octets.Take(1);
  octets.Take(octets.Number(1));
  octets.Take(4);
  return octets.good() && format == "b" ? std::optional(octets.rest()) : std::nullopt;
}

// 5.4. It says what the signature will be, and must be right.
bool Announces(std::string_view one_pass, const OpenPgpSignature& signature, std::string_view signature_body,
               const OpenPgpKey& key) {
  Octets octets(one_pass);
  const uint64_t version = octets.Number(1);
  const uint64_t type = octets.Number(1);
  const std::string_view hash = octets.Take(1);
  const uint64_t algorithm = octets.Number(1);
  const std::string_view id = octets.Take(kKeyIdBytes);
  const uint64_t last = octets.Number(1);
  return octets.done() && version == 3 && type == signature.type && hash == signature_body.substr(3, 1) &&
         algorithm == signature.key_algorithm && id == key.id() && last == 1;
}

std::string UpperHex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text;
  for (const char byte : bytes) {
    text += kDigits[static_cast<uint8_t>(byte) >> 4];
    text += kDigits[static_cast<uint8_t>(byte) & 0xf];
  }
  return text;
}

// Who may have made a signature, as far as all but its numbers say.
struct Signer {
  OpenPgpSignature signature;
  OpenPgpKey key;
  std::string primary;  // its fingerprint
  int64_t created = 0;
};

// nullopt when anything about signature, key or certificate is not plain. The answer has views into both.
std::optional<Signer> FindSigner(std::string_view ring, std::string_view signature_body, int64_t now) {
  // gpg merges them: one may revoke what another one says.
  if (HasDuplicates(ring))
    return std::nullopt;
  const auto packets = WalkPackets(ring);
  const auto signature = OpenPgpSignature::Parse(signature_body);
  if (!packets || !signature || !OpenPgpSignature::IsWhole(signature_body) || signature->type != kBinaryDocument)
    return std::nullopt;
  const auto issuer = TheOne(signature->hashed, kIssuerFingerprint);
  if (!issuer || issuer->size() != kKeyFingerprintBytes + 1 || (*issuer)[0] != kOpenPgpVersion)
    return std::nullopt;
  auto found = FindKey(*packets, issuer->substr(1));
  if (!found || !found->first.Open())
    return std::nullopt;
  auto& [key, at] = *found;
  const std::span<const Packet> rest = std::span(*packets).subspan(at + 1);
  const auto end =
      std::find_if(rest.begin(), rest.end(), [](const Packet& packet) { return packet.tag == PacketTag::kPublicKey; });
  auto primary = OpenPgpKey::Parse((*packets)[at].body);
  if (!primary || !primary->Open())
    return std::nullopt;
  const Certificate certificate(*std::move(primary), {rest.begin(), end}, now);
  const bool by_primary = key.fingerprint == certificate.primary().fingerprint;
  if (!certificate.UserIdsArePlain(by_primary) || !certificate.SubkeysArePlain(by_primary ? nullptr : &key) ||
      !IsPlain(*signature, key, now, {kCreated, kIssuer, kSignerUserId, kIssuerFingerprint}) ||
      Has(signature->unhashed, kEmbedded))
    return std::nullopt;
  const int64_t created = *Seconds(*signature, kCreated);
  return Signer{*signature, std::move(key), UpperHex(certificate.primary().fingerprint), created};
}

KeyHash KeyHashOf(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::kSha512 ? KeyHash::kSha512 : KeyHash::kSha256;
}

std::optional<Signer> FindDetachedSigner(std::string_view ring, std::string_view signature, int64_t now) {
  const auto packets = WalkPackets(signature, 1);
  if (!packets || packets->size() != 1 || packets->front().tag != PacketTag::kSignature)
    return std::nullopt;
  return FindSigner(ring, packets->front().body, now);
}

PlainDetached Judge(const Signer& signer, MessageHash content) {
  return {signer.key.Made(signer.signature, std::move(content)), UpperHex(signer.key.fingerprint), signer.primary,
          signer.created};
}

}  // namespace

std::optional<PlainMessage> VerifyPlainMessage(std::string_view ring, std::string_view message, size_t max_payload,
                                               int64_t now) {
  const auto parts = TakeApart(message, max_payload + 65536);
  const auto payload = parts ? PayloadOf(parts->literal) : std::nullopt;
  if (!payload || payload->size() > max_payload)
    return std::nullopt;
  const auto signer = FindSigner(ring, parts->signature, now);
  if (!signer)
    return std::nullopt;
  const auto& [signature, key, primary, created] = *signer;
  const bool announced = parts->one_pass.empty() || Announces(parts->one_pass, signature, parts->signature, key);
  if (!announced || !key.Made(signature, *payload))
    return std::nullopt;
  return PlainMessage{std::string(*payload), primary, created};
}

std::optional<PlainDetached> VerifyPlainDetached(std::string_view ring, std::string_view signature, Source& content,
                                                 int64_t now) {
  const auto signer = FindDetachedSigner(ring, signature, now);
  if (!signer)
    return std::nullopt;
  MessageHash hash(signer->signature.hash);
  for (Block block = content.Next(); !block.empty(); block = content.Next()) hash.Update(AsText(block.bytes()));
  return Judge(*signer, std::move(hash));
}

std::optional<PlainDetached> VerifyPlainHashed(std::string_view ring, std::string_view signature, const Hasher& content,
                                               int64_t now) {
  const auto signer = FindDetachedSigner(ring, signature, now);
  if (!signer || signer->signature.hash != KeyHashOf(content.algorithm()))
    return std::nullopt;
  return Judge(*signer, MessageHash(content));
}

}  // namespace gantry::sign
