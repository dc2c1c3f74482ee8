// What is decided without gpg, compared with gpg: it must be the last word about all that is not plainly good.
#include "libsign/openpgp_plain.h"

#include <gtest/gtest.h>

#include <ctime>

#include "libimage/base/fd.h"
#include "libsign/gpg_verify.h"
#include "libsign/openpgp.h"
#include "libsign/openpgp_packets.h"
#include "tests/support/gpg_home.h"

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
      const auto plain = VerifyPlainDetached(ring, signature, *source, std::time(nullptr));
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
  const auto packets = [](const std::string& keys, std::vector<size_t> which) {
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
}

}  // namespace
}  // namespace gantry::sign
