#include "libsign/openpgp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "libsign/simple_signing.h"
#include "tests/support/gpg_home.h"

namespace gantry::sign {
namespace {

using testing::CaughtError;
using testing::GpgHome;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::SharedKey;
using ::testing::SizeIs;

constexpr std::string_view kPayload = "{\"a\":1}";

std::string CodeOf(const KeyRing& ring, std::string_view message) {
  const SignedMessage answer = ring.Verify(message);
  return answer.problem ? answer.problem->code : "ok";
}

KeyRing RingOf(const std::string& keys) { return KeyRing({keys}, {"test key"}); }

class OpenPgp : public ::testing::Test {
 protected:
  const GpgHome& home_ = SharedKey::Get().home;
  const std::string& key_ = SharedKey::Get().fingerprint;
  const std::string& public_ = SharedKey::Get().public_key;
};

TEST_F(OpenPgp, TakesThePayloadOutOfWhatGpgSigned) {
  const SignedMessage answer = RingOf(public_).Verify(home_.Sign(key_, kPayload));
  ASSERT_FALSE(answer.problem) << answer.problem->reason;
  EXPECT_EQ(answer.payload, kPayload);
  EXPECT_EQ(answer.fingerprint, key_);
  EXPECT_GT(answer.created, 1'600'000'000);
}

TEST_F(OpenPgp, TakesUncompressedMessagesAndArmoredKeys) {
  const KeyRing ring = RingOf("a comment\n" + home_.Run({"--armor", "--export", key_}));
  EXPECT_EQ(CodeOf(ring, home_.Sign(key_, kPayload, {"-z0"})), "ok");
}

TEST_F(OpenPgp, SignsWhatGpgVerifies) {
  const MadeSignature made = SignMessage(kPayload, {key_, home_.path()});
  EXPECT_EQ(made.fingerprint, key_);
  EXPECT_EQ(home_.Run({"--decrypt"}, made.message), kPayload);
  EXPECT_EQ(CodeOf(RingOf(public_), made.message), "ok");
}

TEST_F(OpenPgp, FindsTheSigningKeyByUserIdAndSaysWhenThereIsNone) {
  EXPECT_EQ(SignMessage(kPayload, {"test@gantry.example", home_.path()}).fingerprint, key_);
  const Error error = CaughtError([&] { SignMessage(kPayload, {"nobody@example.com", home_.path()}); });
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
}

TEST_F(OpenPgp, AsksWhichKeyWhenSeveralFit) {
  const GpgHome home;
  home.Generate("one <one@twins.example>");
  home.Generate("two <two@twins.example>");
  const Error error = CaughtError([&] { SignMessage(kPayload, {"twins.example", home.path()}); });
  EXPECT_EQ(error.kind(), ErrorKind::kUsage);
}

TEST_F(OpenPgp, SignsWithAPassphrase) {
  const GpgHome home;
  home.Run({"--pinentry-mode", "loopback", "--passphrase", "open sesame", "--quick-generate-key",
            "locked <l@x.example>", "ed25519", "sign", "never"});
  const std::string key = home.Fingerprint("locked <l@x.example>");
  RunCaptured({"gpgconf", "--homedir", home.path(), "--kill", "all"}, {}, 4096);  // which remembers the passphrase
  const SecretBytes wrong("open wheat"), right("open sesame");
  EXPECT_EQ(CaughtError([&] { SignMessage(kPayload, {key, home.path(), &wrong}); }).kind(), ErrorKind::kFailed);
  const MadeSignature made = SignMessage(kPayload, {key, home.path(), &right});
  EXPECT_EQ(CodeOf(RingOf(home.Export(key)), made.message), "ok");
}

TEST_F(OpenPgp, RefusesOtherKeys) {
  const GpgHome other;
  const std::string stranger = other.Generate("stranger <s@x.example>");
  EXPECT_EQ(CodeOf(RingOf(public_), other.Sign(stranger, kPayload)), "unknown-key");
}

TEST_F(OpenPgp, RefusesEveryFlippedByte) {
  const std::string message = home_.Sign(key_, kPayload, {"-z0"});
  const KeyRing ring = RingOf(public_);
  for (size_t at = 0; at < message.size(); at += 5) {
    std::string flipped = message;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x01);
    const SignedMessage answer = ring.Verify(flipped);
    // Some bytes are not signed: the file name and date of the literal packet, unhashed hints. The payload is.
    EXPECT_TRUE(answer.problem || answer.payload == kPayload) << at;
    EXPECT_TRUE(answer.problem || answer.fingerprint == key_) << at;
  }
  std::string payload_flipped = message;
  payload_flipped[message.find(kPayload)] ^= 0x01;
  EXPECT_EQ(CodeOf(ring, payload_flipped), "bad-signature");
}

TEST_F(OpenPgp, RefusesArmorAndCleartext) {
  const KeyRing ring = RingOf(public_);
  EXPECT_EQ(CodeOf(ring, home_.Sign(key_, kPayload, {"--armor"})), "not-one-message");
  EXPECT_EQ(CodeOf(ring, home_.Run({"--local-user", key_, "--clear-sign"}, kPayload)), "not-one-message");
}

TEST_F(OpenPgp, RefusesDetachedSignatures) {
  EXPECT_EQ(CodeOf(RingOf(public_), home_.Run({"--local-user", key_, "--detach-sign"}, kPayload)), "not-one-message");
}

TEST_F(OpenPgp, RefusesConcatenatedMessagesAndTrailingBytes) {
  const KeyRing ring = RingOf(public_);
  for (const char* compression : {"none", "zip", "zlib"}) {
    const std::string message = home_.Sign(key_, kPayload, {"--compress-algo", compression});
    EXPECT_EQ(CodeOf(ring, message), "ok") << compression;
    EXPECT_NE(CodeOf(ring, message + message), "ok") << compression;
    EXPECT_NE(CodeOf(ring, message + "x"), "ok") << compression;
    EXPECT_NE(CodeOf(ring, message + std::string(1, '\0')), "ok") << compression;
    EXPECT_NE(CodeOf(ring, message.substr(0, message.size() - 1)), "ok") << compression;
  }
}

TEST_F(OpenPgp, RefusesTwoSignaturesOverOneMessage) {
  const GpgHome home;
  const std::string one = home.Generate("one <one@x.example>");
  const std::string two = home.Generate("two <two@x.example>");
  const std::string message = home.Run({"--local-user", one, "--local-user", two, "--sign"}, kPayload);
  EXPECT_EQ(CodeOf(RingOf(home.Run({"--export"})), message), "not-one-message");
}

TEST_F(OpenPgp, RefusesSha1) {
  EXPECT_EQ(CodeOf(RingOf(public_), home_.Sign(key_, kPayload, {"--digest-algo", "SHA1"})), "weak-digest");
}

TEST_F(OpenPgp, RefusesDatesInTheFuture) {
  EXPECT_EQ(CodeOf(RingOf(public_), home_.Sign(key_, kPayload, {"--faked-system-time", "20991231T000000"})),
            "future-signature");
}

TEST_F(OpenPgp, RefusesExpiredSignatures) {
  const GpgHome home;
  const std::string key =
      home.Generate("old <o@x.example>", "ed25519", "sign", "never", {"--faked-system-time", "20200101T000000"});
  const std::string message =
      home.Sign(key, kPayload, {"--faked-system-time", "20200102T000000", "--default-sig-expire", "5d"});
  EXPECT_EQ(CodeOf(RingOf(home.Export(key)), message), "expired-signature");
}

TEST_F(OpenPgp, RefusesExpiredKeys) {
  const GpgHome home;
  const std::string key =
      home.Generate("old <o@x.example>", "ed25519", "sign", "10d", {"--faked-system-time", "20200101T000000"});
  const std::string message = home.Sign(key, kPayload, {"--faked-system-time", "20200102T000000"});
  const KeyRing ring = RingOf(home.Export(key));
  EXPECT_EQ(CodeOf(ring, message), "expired-key");
  ASSERT_THAT(ring.List(), SizeIs(1));
  EXPECT_EQ(ring.List()[0].problem, "expired");
}

TEST_F(OpenPgp, RefusesRevokedKeys) {
  const GpgHome home;
  const std::string key = home.Generate("gone <g@x.example>");
  const std::string message = home.Sign(key, kPayload);
  std::string certificate = ReadFile(home.path() + "/openpgp-revocs.d/" + key + ".rev", 65536);
  const size_t colon = certificate.find("\n:");
  ASSERT_NE(colon, std::string::npos);
  const std::string before = home.Export(key);
  home.Run({"--import"}, certificate.erase(colon + 1, 1));
  EXPECT_EQ(CodeOf(RingOf(home.Export(key)), message), "revoked-key");
  // An older copy of the key beside it does not bring it back.
  EXPECT_EQ(CodeOf(KeyRing({before, home.Export(key)}, {"before", "after"}), message), "revoked-key");
  EXPECT_EQ(CodeOf(RingOf(before), message), "ok");
}

TEST_F(OpenPgp, NamesThePrimaryKeyOfASigningSubkey) {
  const GpgHome home;
  const std::string primary = home.Generate("primary <p@x.example>", "ed25519", "cert");
  home.Run({"--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", primary, "ed25519", "sign"});
  const SignedMessage answer = RingOf(home.Export(primary)).Verify(home.Sign(primary, kPayload));
  ASSERT_FALSE(answer.problem) << answer.problem->reason;
  EXPECT_EQ(answer.fingerprint, primary);
}

TEST_F(OpenPgp, RefusesDecompressionBombs) {
  const std::string message = home_.Sign(key_, std::string(64 << 20, 'x'));
  ASSERT_LT(message.size(), 1U << 20);
  EXPECT_NE(CodeOf(RingOf(public_), message), "ok");
}

TEST_F(OpenPgp, RefusesKeyFilesThatAreNone) {
  for (const std::string& file : {std::string(), std::string("hello\n"), std::string("\xff\xff\xff", 3),
                                  home_.Sign(key_, kPayload), public_.substr(0, public_.size() - 1)}) {
    EXPECT_EQ(CaughtError([&] { RingOf(file); }).kind(), ErrorKind::kCorrupt);
  }
  const std::string secret =
      home_.Run({"--pinentry-mode", "loopback", "--passphrase", "", "--export-secret-keys", key_});
  EXPECT_THAT(CaughtError([&] { RingOf(secret); }).message(), HasSubstr("secret"));
}

TEST_F(OpenPgp, RefusesShortRsaKeys) {
  const GpgHome home;
  const std::string weak = home.Generate("weak <w@x.example>", "rsa1024");
  EXPECT_THAT(CaughtError([&] { RingOf(home.Export(weak)); }).message(), HasSubstr("too weak"));
  // Beside a good key it is only left out.
  EXPECT_EQ(CodeOf(RingOf(public_ + home.Export(weak)), home.Sign(weak, kPayload)), "unknown-key");
}

TEST_F(OpenPgp, ListsKeys) {
  const auto keys = RingOf(public_).List();
  ASSERT_THAT(keys, SizeIs(1));
  EXPECT_EQ(keys[0].fingerprint, key_);
  EXPECT_EQ(keys[0].user_ids, std::vector<std::string>{"gantry test <test@gantry.example>"});
}

TEST_F(OpenPgp, LeavesNoDirectoryAndNoAgentBehind) {
  const testing::TempDir dir;
  const char* before = std::getenv("TMPDIR");
  const std::string restore = before == nullptr ? "/tmp" : before;
  setenv("TMPDIR", dir.path().c_str(), 1);
  EXPECT_EQ(CodeOf(RingOf(public_), home_.Sign(key_, kPayload)), "ok");
  CaughtError([] { RingOf("nothing"); });
  setenv("TMPDIR", restore.c_str(), 1);
  EXPECT_THAT(dir.dir().List(), IsEmpty());
}

}  // namespace
}  // namespace gantry::sign
