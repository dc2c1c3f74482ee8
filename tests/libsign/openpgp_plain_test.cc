// What is decided without gpg, compared with gpg: it must be the last word about all that is not plainly good.
#include "libsign/openpgp_plain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "libimage/base/fd.h"
#include "libsign/big_endian.h"
#include "libsign/gpg_verify.h"
#include "libsign/openpgp.h"
#include "libsign/openpgp_key.h"
#include "libsign/openpgp_packets.h"
#include "tests/support/gpg_home.h"
#include "tests/support/testdata.h"

namespace gantry::sign {
namespace {

using testing::GpgHome;
using testing::SharedKey;

constexpr std::string_view kPayload = "{\"a\":1}";
constexpr size_t kMaxPayload = 4096;

// At `now`, else at the time when the keys and the message have been made.
std::optional<PlainMessage> Plain(const std::string& keys, const std::string& message,
                                  std::optional<int64_t> now = std::nullopt) {
  return VerifyPlainMessage(DecodePublicKeys(keys, "keys", kMinRsaBits), message, kMaxPayload,
                            now.value_or(std::time(nullptr)));
}

bool GpgAccepts(std::string_view ring, std::string_view message) {
  const testing::TempDir home;
  home.dir().WriteFileAtomically(RelPath::Parse("pubring.gpg"), ring);
  home.dir().WriteFileAtomically(RelPath::Parse("gpg.conf"),
                                 "trust-model always\nno-auto-check-trustdb\nrequire-cross-certification\n");
  const GpgVerdict verdict = VerifyWithGpg(home.path(), message, kMaxPayload);
  return !verdict.failed && verdict.outcomes == 1 && verdict.outcome == "GOODSIG" && verdict.valid == 1;
}

std::string AddSubkey(const GpgHome& home, const std::string& primary, const std::string& algorithm,
                      const std::string& expires = "never") {
  return home.Run(
      {"--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", primary, algorithm, "sign", expires});
}

TEST(PlainOpenPgp, IsGoodWithoutGpgForEveryCommonKey) {
  const GpgHome home;
  for (const char* algorithm : {"ed25519", "rsa2048", "rsa3072", "nistp256", "nistp384", "nistp521"}) {
    const std::string key = home.Generate(std::string(algorithm) + " <a@x.example>", algorithm, "sign", "2y");
    for (const char* compression : {"none", "zip", "zlib"}) {
      const auto plain =
          Plain(home.Run({"--export"}), home.Sign(key + "!", kPayload, {"--compress-algo", compression}));
      ASSERT_TRUE(plain) << algorithm << " " << compression;
      EXPECT_EQ(plain->payload, kPayload);
      EXPECT_EQ(plain->fingerprint, key);
    }
    home.Run({"--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", key,
              std::string_view(algorithm).starts_with("rsa") ? algorithm : "cv25519", "encr", "1d"});
    EXPECT_TRUE(Plain(home.Run({"--export"}), home.Sign(key + "!", kPayload))) << algorithm;
    AddSubkey(home, key, std::string(algorithm) + (std::string_view(algorithm).starts_with("nist") ? "/ecdsa" : ""));
    const auto by_subkey = Plain(home.Run({"--export"}), home.Sign(key, kPayload));
    ASSERT_TRUE(by_subkey) << algorithm;
    EXPECT_EQ(by_subkey->fingerprint, key);
  }
}

// gpg decides about each of these, and openpgp_test.cc sees how; some it takes.
TEST(PlainOpenPgp, WhatIsNotPlainIsLeftToGpg) {
  const SharedKey& key = SharedKey::Get();
  const auto sign = [&](std::vector<std::string> options, std::string_view payload = kPayload) {
    return key.home.Sign(key.fingerprint, payload, std::move(options));
  };
  EXPECT_TRUE(Plain(key.public_key, sign({})));
  EXPECT_FALSE(Plain(key.public_key, sign({}) + "x"));
  EXPECT_FALSE(Plain(key.public_key, sign({"--digest-algo", "SHA1"})));
  EXPECT_FALSE(Plain(key.public_key, sign({"--textmode"})));
  EXPECT_FALSE(Plain(key.public_key, sign({"--armor"})));
  EXPECT_FALSE(Plain(key.public_key, sign({"--compress-algo", "bzip2"})));
  EXPECT_FALSE(Plain(key.public_key, sign({"--sig-notation", "!a@x.example=b"})));
  EXPECT_FALSE(Plain(key.public_key, sign({"--default-sig-expire", "5d"})));
  EXPECT_FALSE(Plain(key.public_key, sign({"--faked-system-time", "20991231T000000"})));
  EXPECT_FALSE(Plain(key.public_key, sign({}, std::string(kMaxPayload + 1, 'x'))));
  EXPECT_FALSE(Plain(key.public_key, sign({}), std::time(nullptr) - 1'000'000));
  EXPECT_FALSE(Plain(key.public_key + key.public_key, sign({})));
  const GpgHome other;
  EXPECT_FALSE(Plain(key.public_key, other.Sign(other.Generate("stranger <s@x.example>"), kPayload)));
}

TEST(PlainOpenPgp, KeysThatMayNotSignAreLeftToGpg) {
  const GpgHome home;
  const int64_t later = std::time(nullptr) + 3 * 86400;
  const std::string brief = home.Generate("brief <b@x.example>", "ed25519", "sign", "2d");
  const std::string message = home.Sign(brief, kPayload);
  EXPECT_TRUE(Plain(home.Export(brief), message));
  EXPECT_FALSE(Plain(home.Export(brief), message, later));
  // A subkey that lasts longer than its primary key ends with it; and one that ends before.
  AddSubkey(home, brief, "ed25519", "10d");
  const std::string by_subkey = home.Sign(brief, kPayload);
  EXPECT_TRUE(Plain(home.Export(brief), by_subkey));
  EXPECT_FALSE(Plain(home.Export(brief), by_subkey, later));
  const std::string lasting = home.Generate("lasting <l@x.example>", "ed25519", "cert");
  AddSubkey(home, lasting, "ed25519", "2d");
  const std::string by_brief = home.Sign(lasting, kPayload);
  EXPECT_TRUE(Plain(home.Export(lasting), by_brief));
  EXPECT_FALSE(Plain(home.Export(lasting), by_brief, later));
  // One of its user IDs is revoked.
  home.Run({"--quick-add-uid", brief, "second <s@x.example>"});
  EXPECT_TRUE(Plain(home.Export(brief), message));
  home.Run({"--quick-revoke-uid", brief, "second <s@x.example>"});
  EXPECT_FALSE(Plain(home.Export(brief), message));
}

// Bits of the message and of the key in turn: one of each byte, not always the same. What is still plain gpg must take,
// and the payload and signer be those.
TEST(PlainOpenPgp, WhatIsPlainGpgTakesToo) {
  const GpgHome home;
  const std::string primary = home.Generate("primary <p@x.example>");
  const std::string by_primary = home.Sign(primary + "!", kPayload, {"-z0"});
  AddSubkey(home, primary, "ed25519");
  const std::string by_subkey = home.Sign(primary, kPayload, {"-z0"});
  const std::string ring = DecodePublicKeys(home.Export(primary), "keys", kMinRsaBits);
  constexpr size_t kStep = 7;
  size_t tried = 0;
  const auto check = [&](const std::string& keys, const std::string& message, size_t bit) {
    ++tried;
    const auto plain = VerifyPlainMessage(keys, message, kMaxPayload, std::time(nullptr));
    if (plain) {
      EXPECT_EQ(plain->payload, kPayload);
      EXPECT_EQ(plain->fingerprint, primary);
      EXPECT_TRUE(GpgAccepts(keys, message)) << (keys == ring ? "message" : "keys") << " bit " << bit << "\n"
                                             << ::testing::PrintToString(message) << ::testing::PrintToString(keys);
    }
  };
  for (const std::string& message : {by_primary, by_subkey}) {
    ASSERT_TRUE(VerifyPlainMessage(ring, message, kMaxPayload, std::time(nullptr)));
    ASSERT_TRUE(GpgAccepts(ring, message));
    for (size_t bit = 0; bit < 8 * message.size(); bit += kStep) {
      std::string changed = message;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
      check(ring, changed, bit);
    }
    for (size_t bit = 0; bit < 8 * ring.size(); bit += kStep) {
      std::string changed = ring;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
      check(changed, message, bit);
    }
  }
  EXPECT_GT(tried, 1'000U);
}

// A detached one is plain or not before anything is read; then the content decides.
TEST(PlainOpenPgp, DetachedSignaturesAreJudgedByTheContentAlone) {
  const GpgHome home;
  for (const char* algorithm : {"ed25519", "rsa2048", "nistp384"}) {
    const std::string key = home.Generate(std::string(algorithm) + " <a@x.example>", algorithm);
    const std::string ring = DecodePublicKeys(home.Export(key), "keys", kMinRsaBits);
    std::string content;
    while (content.size() < 300'000) content += "the bytes of a file, which are more than one block\n";
    const auto verify = [&](const std::string& signature, const std::string& bytes) {
      const auto source = StringSource(bytes);
      auto plain = VerifyPlainDetached(ring, signature, *source, std::time(nullptr));
      EXPECT_EQ(source->Next().empty(), plain.has_value()) << algorithm;
      return plain;
    };
    const auto sign = [&](std::vector<std::string> options) {
      options.insert(options.end(), {"--local-user", key, "--detach-sign", "--output", "-"});
      return home.Run(options, content);
    };
    const auto good = verify(sign({}), content);
    ASSERT_TRUE(good) << algorithm;
    EXPECT_TRUE(good->good);
    const auto hashed = [&](const std::string& hash, HashAlgorithm by, std::string_view bytes) {
      Hasher hasher(by);
      hasher.Update(AsBytes(bytes));
      const std::string signature = sign({"--digest-algo", hash});
      return VerifyPlainHashed(ring, signature, hasher, std::time(nullptr));
    };
    EXPECT_TRUE(hashed("SHA512", HashAlgorithm::kSha512, content).value().good);
    EXPECT_EQ(hashed("SHA512", HashAlgorithm::kSha512, content)->fingerprint, key);
    EXPECT_FALSE(hashed("SHA512", HashAlgorithm::kSha512, "x").value().good);
    EXPECT_FALSE(hashed("SHA512", HashAlgorithm::kSha256, content));
    EXPECT_FALSE(hashed("SHA384", HashAlgorithm::kSha256, content));
    EXPECT_EQ(good->fingerprint, key);
    EXPECT_FALSE(verify(sign({}), content + "x").value().good);
    EXPECT_FALSE(verify(sign({}), "x").value().good);
    EXPECT_FALSE(verify(sign({"--textmode"}), content));
    EXPECT_FALSE(verify(sign({"--sig-notation", "a@x.example=b"}), content));
    EXPECT_FALSE(verify(sign({"--faked-system-time", "20991231T000000"}), content));
  }
}

// Packets of the key left out, or twice: without its certification or binding it is not plain, and gpg decides.
TEST(PlainOpenPgp, AKeyMustBeWhole) {
  const GpgHome home;
  const std::string primary = home.Generate("primary <p@x.example>", "ed25519", "cert");
  AddSubkey(home, primary, "ed25519");
  const std::string message = home.Sign(primary, kPayload);
  const std::string ring = DecodePublicKeys(home.Export(primary), "keys", kMinRsaBits);
  const auto packets = WalkPackets(ring).value();
  ASSERT_EQ(packets.size(), 5U);
  for (size_t left_out = 0; left_out < packets.size(); ++left_out) {
    std::string part;
    for (size_t i = 0; i < packets.size(); ++i) {
      if (i != left_out)
        part += packets[i].bytes;
    }
    EXPECT_FALSE(VerifyPlainMessage(part, message, kMaxPayload, std::time(nullptr))) << left_out;
  }
}

// gpg merges two versions of one key. One may revoke the primary key, or let it expire, and not have the subkey that
// signed.
TEST(PlainOpenPgp, AKeyInTwoVersionsIsLeftToGpg) {
  const GpgHome home;
  const std::string primary = home.Generate("primary <p@x.example>", "ed25519", "cert");
  AddSubkey(home, primary, "ed25519");
  const std::string message = home.Sign(primary, kPayload);
  const std::string full = home.Export(primary);
  ASSERT_TRUE(Plain(full, message));
  const auto packets = [](const std::string& keys, const std::vector<size_t>& which) {
    const auto all = WalkPackets(keys).value();
    std::string some;
    for (const size_t i : which) some += all.at(i).bytes;
    return some;
  };
  home.Run({"--quick-set-expire", primary, "2d"});
  const std::string expiring = packets(home.Export(primary), {0, 1, 2});
  std::string revocation = ReadFile(home.path() + "/openpgp-revocs.d/" + primary + ".rev", 65536);
  home.Run({"--import"}, revocation.erase(revocation.find("\n:") + 1, 1));
  // The key, its revocation, its user ID with its certification.
  const std::string revoked = home.Export(primary);
  const std::string bare = packets(revoked, {0, 1});
  const std::string named = packets(revoked, {0, 1, 2, 3});
  const int64_t later = std::time(nullptr) + 3 * 86400;
  for (const std::string& stub : {bare, named}) {
    EXPECT_FALSE(Plain(full + stub, message));
    EXPECT_FALSE(Plain(stub + full, message));
    for (const auto& keys :
         {std::vector{full, stub}, std::vector{stub, full}, std::vector{full + stub}, std::vector{stub + full}}) {
      const SignedMessage answer = KeyRing(keys, std::vector<std::string>(keys.size(), "keys")).Verify(message);
      EXPECT_EQ(answer.problem.value_or(BadSignature{}).code, "revoked-key")
          << keys.size() << (keys.front().starts_with(stub) ? " stub first" : "") << (stub == bare ? " bare" : "");
    }
  }
  ASSERT_TRUE(Plain(full, message, later));
  EXPECT_FALSE(Plain(full + expiring, message, later));
  EXPECT_FALSE(Plain(expiring + full, message, later));
  // gpg leaves out what follows a key's numbers: spelled differently, it is the same key.
  const std::string body = std::string(WalkPackets(revoked).value().front().body) + "x";
  const std::string longer = "\x98" + BigEndian(body.size(), 1) + body + packets(revoked, {1});
  EXPECT_FALSE(Plain(longer + full, message));
  EXPECT_FALSE(Plain(full + longer, message));
}

// Keys and messages written here: octets that gpg itself does not write.
constexpr uint8_t kBySha256 = 8;
constexpr uint8_t kBySha384 = 9;
constexpr uint8_t kBySha512 = 10;
constexpr int64_t kMade = 1'600'000'000;
constexpr uint8_t kCritical = 0x80;

std::string Number(std::string_view octets) {
  octets.remove_prefix(std::min(octets.find_first_not_of('\0'), octets.size()));
  size_t bits = 8 * octets.size();
  for (int first = static_cast<uint8_t>(octets[0]); first < 0x80; first <<= 1) --bits;
  return BigEndian(bits, 2) + std::string(octets);
}
std::string Of(int type, const std::string& body) {
  return "\xff" + BigEndian(body.size() + 1, 4) + static_cast<char>(type) + body;
}
std::string PacketOf(PacketTag tag, const std::string& body) {
  return static_cast<char>(0xc0 | static_cast<int>(tag)) + ("\xff" + BigEndian(body.size(), 4)) + body;
}

class EcdsaKey {
 public:
  explicit EcdsaKey(KeyKind kind, bool compressed = false) : key_(PrivateKey::Generate(kind)) {
    using namespace std::string_literals;
    const bool p256 = kind == KeyKind::kEcdsaP256;
    const bool p384 = kind == KeyKind::kEcdsaP384;
    const size_t size = p256 ? 32 : p384 ? 48 : 66;
    const std::string curve = p256   ? "\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"s
                              : p384 ? "\x05\x2b\x81\x04\x00\x22"s
                                     : "\x05\x2b\x81\x04\x00\x23"s;
    std::string point = key_.public_key().spki();
    point.erase(0, point.size() - 2 * size - 1);
    if (compressed)
      point = static_cast<char>(0x02 | (point.back() & 1)) + point.substr(1, size);
    body_ = "\x04" + BigEndian(kMade, 4) + "\x13" + curve + Number(point);
  }
  const std::string& body() const { return body_; }
  std::string Hashed() const { return OpenPgpKey::Parse(body_).value().Hashed(); }
  // 2: as gpg does; 1: only the fingerprint.
  std::string Issuer(int hints = 2) const {
    const OpenPgpKey key = OpenPgpKey::Parse(body_).value();
    return (hints > 0 ? Of(kIssuerFingerprint, "\x04" + key.fingerprint) : "") +
           (hints > 1 ? Of(kIssuer, std::string(key.id())) : "");
  }

  // The body of a signature's packet.
  std::string Sign(int type, uint8_t hash, std::string subpackets, const std::string& content) const {
    subpackets += Of(kCreated, BigEndian(kMade + 1, 4));
    const std::string head = std::string("\x04") + static_cast<char>(type) + "\x13" + static_cast<char>(hash) +
                             BigEndian(subpackets.size(), 2) + subpackets;
    const std::string signed_bytes = content + head + "\x04\xff" + BigEndian(head.size(), 4);
    const KeyHash by = hash == kBySha256 ? KeyHash::kSha256 : hash == kBySha384 ? KeyHash::kSha384 : KeyHash::kSha512;
    const std::string halves = key_.Sign({Scheme::Kind::kEcdsaRaw, by}, signed_bytes);
    return head + BigEndian(0, 2) + Hash(by, signed_bytes).substr(0, 2) + Number(halves.substr(0, halves.size() / 2)) +
           Number(halves.substr(halves.size() / 2));
  }

 private:
  PrivateKey key_;
  std::string body_;
};

// A primary key, its subkey and a message by the subkey or, without one, by the primary key: what differs from the
// plainest.
struct Crafted {
  KeyKind kind = KeyKind::kEcdsaP256;
  KeyKind subkey_kind = KeyKind::kEcdsaP256;
  bool compressed = false;
  bool by_subkey = false;
  int issuer_hints = 2;  // in the certification
  int binding_hints = 2;
  int back_hints = 2;
  uint8_t hash = kBySha512;  // of the message
  uint8_t certification_hash = kBySha512;
  uint8_t back_hash = kBySha512;
  std::string user_id = "a <a@x.example>";
  std::string subpackets = "";  // of the message's signature
  std::string certification = "";
  std::string binding = "";
  std::string flags = Of(kKeyFlags, "\x03");

  std::pair<std::string, std::string> Make() const {
    const EcdsaKey primary(kind, compressed);
    const EcdsaKey subkey(subkey_kind, compressed);
    const std::string certified = primary.Hashed() + "\xb4" + BigEndian(user_id.size(), 4) + user_id;
    std::string ring =
        PacketOf(PacketTag::kPublicKey, primary.body()) + PacketOf(PacketTag::kUserId, user_id) +
        PacketOf(PacketTag::kSignature, primary.Sign(0x13, certification_hash,
                                                     primary.Issuer(issuer_hints) + flags + certification, certified));
    if (by_subkey) {
      const std::string both = primary.Hashed() + subkey.Hashed();
      const std::string back = Of(kEmbedded, subkey.Sign(0x19, back_hash, subkey.Issuer(back_hints), both));
      ring += PacketOf(PacketTag::kPublicSubkey, subkey.body()) +
              PacketOf(PacketTag::kSignature,
                       primary.Sign(0x18, kBySha512, primary.Issuer(binding_hints) + flags + back + binding, both));
    }
    const EcdsaKey& signer = by_subkey ? subkey : primary;
    const std::string signature = signer.Sign(0x00, hash, signer.Issuer() + subpackets, std::string(kPayload));
    return {ring, PacketOf(PacketTag::kSignature, signature) +
                      PacketOf(PacketTag::kLiteral, "b" + BigEndian(0, 5) + std::string(kPayload))};
  }
};

TEST(PlainOpenPgp, WhatGpgTakesOfCraftedKeysIsPlain) {
  const std::string at_the_end = Of(kKeyExpires, BigEndian(UINT32_MAX - kMade, 4));
  const std::vector<Crafted> all{
      {},
      {.by_subkey = true},
      {.hash = kBySha256, .certification_hash = kBySha256},
      {.kind = KeyKind::kEcdsaP384, .hash = kBySha384, .certification_hash = kBySha384},
      {.kind = KeyKind::kEcdsaP521},
      {.subkey_kind = KeyKind::kEcdsaP521, .by_subkey = true, .certification_hash = kBySha256},
      {.user_id = std::string(2048, 'u')},
      {.certification = Of(kPreferredAead, std::string(9'900, '\2'))},
      {.certification = Of(kCritical | kKeyExpires, BigEndian(0, 4)), .flags = Of(kCritical | kKeyFlags, "\x03")},
      {.certification = at_the_end},
      {.by_subkey = true, .binding = at_the_end},
  };
  for (size_t i = 0; i < all.size(); ++i) {
    const auto [ring, message] = all[i].Make();
    EXPECT_TRUE(VerifyPlainMessage(ring, message, kMaxPayload, std::time(nullptr))) << i;
    EXPECT_TRUE(GpgAccepts(ring, message)) << i;
  }
}

TEST(PlainOpenPgp, WhatGpgRefusesOfCraftedKeysIsLeftToIt) {
  const std::string past_the_end = Of(kKeyExpires, BigEndian(UINT32_MAX - kMade + 1'000, 4));
  const std::vector<std::pair<const char*, Crafted>> all{
      {"P-384, SHA-256", {.kind = KeyKind::kEcdsaP384, .hash = kBySha256}},
      {"P-521, SHA-256", {.kind = KeyKind::kEcdsaP521, .hash = kBySha256}},
      {"P-521, SHA-384", {.kind = KeyKind::kEcdsaP521, .hash = kBySha384}},
      {"certified by SHA-256", {.kind = KeyKind::kEcdsaP384, .certification_hash = kBySha256}},
      {"certified by SHA-384", {.kind = KeyKind::kEcdsaP521, .certification_hash = kBySha384}},
      {"back by SHA-384", {.subkey_kind = KeyKind::kEcdsaP521, .by_subkey = true, .back_hash = kBySha384}},
      {"critical signer", {.subpackets = Of(kCritical | kSignerUserId, "a@x.example")}},
      {"critical key server", {.certification = Of(kCritical | kKeyServer, "x")}},
      {"critical AEAD", {.certification = Of(kCritical | kPreferredAead, "\2")}},
      {"critical unknown", {.by_subkey = true, .binding = Of(kCritical | 100, "x")}},
      {"no issuer", {.issuer_hints = 0}},
      {"only a fingerprint", {.issuer_hints = 1}},
      {"no issuer of the binding", {.by_subkey = true, .binding_hints = 0}},
      {"only a fingerprint in the binding", {.by_subkey = true, .binding_hints = 1}},
      {"compressed", {.compressed = true}},
      {"compressed subkey", {.compressed = true, .by_subkey = true}},
      {"expiry", {.certification = past_the_end}},
      {"expiry of the subkey", {.by_subkey = true, .binding = past_the_end}},
      {"user ID", {.user_id = std::string(2049, 'u')}},
      {"subpackets", {.certification = Of(kPreferredAead, std::string(10'000, '\2'))}},
  };
  for (const auto& [name, crafted] : all) {
    const auto [ring, message] = crafted.Make();
    EXPECT_FALSE(VerifyPlainMessage(ring, message, kMaxPayload, std::time(nullptr))) << name;
    EXPECT_FALSE(GpgAccepts(ring, message)) << name;
  }
}

// A content is not read for a signature that is gpg's to judge.
TEST(PlainOpenPgp, ADetachedSignatureByAShortHashIsLeftToGpg) {
  for (const uint8_t hash : {kBySha256, kBySha384}) {
    const auto [ring, message] = Crafted{.kind = KeyKind::kEcdsaP384, .hash = hash}.Make();
    const std::string signature(WalkPackets(message).value().front().bytes);
    const auto source = StringSource(std::string(kPayload));
    auto plain = VerifyPlainDetached(ring, signature, *source, std::time(nullptr));
    EXPECT_EQ(plain.has_value(), hash == kBySha384);
    EXPECT_EQ(source->Next().empty(), hash == kBySha384);
  }
}

// Else the fuzz target that begins with them would never see a good one.
TEST(PlainOpenPgp, TheDetachedSeedsAreGood) {
  const std::vector<testing::fs::path> all = testing::Cases("fuzz/openpgp", 3);
  const auto is_detached = [](const testing::fs::path& seed) {
    return seed.filename().string().starts_with("detached-");
  };
  EXPECT_EQ(std::count_if(all.begin(), all.end(), is_detached), 3);
  for (const testing::fs::path& seed : all) {
    if (!is_detached(seed))
      continue;
    const std::string bytes = testing::ReadText(seed);
    ASSERT_GT(bytes.size(), 2u) << seed;
    const size_t length =
        static_cast<size_t>(static_cast<unsigned char>(bytes[0])) << 8 | static_cast<unsigned char>(bytes[1]);
    const auto signature = DecodeDetachedSignature(std::string_view(bytes).substr(2, length));
    ASSERT_TRUE(signature) << seed;
    const std::string ring = DecodePublicKeys(std::string_view(bytes).substr(2 + length), "seed", kMinRsaBits);
    const auto judge = [&](std::string content) {
      return VerifyPlainDetached(ring, *signature, *StringSource(std::move(content)), 2'000'000'000);
    };
    EXPECT_TRUE(judge("content\n").value_or(PlainDetached{}).good) << seed;
    EXPECT_FALSE(judge("other").value_or(PlainDetached{.good = true}).good) << seed;
  }
}

}  // namespace
}  // namespace gantry::sign
