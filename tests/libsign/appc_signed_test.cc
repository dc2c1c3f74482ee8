// appcSigned: detached signatures of App Container Images, under keys of the policy and under trusted keys by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/fd.h"
#include "libsign/trusted_keys.h"
#include "libsign/verify.h"
#include "tests/support/gpg_home.h"
#include "tests/support/image_builder.h"

namespace gantry::sign {
namespace {

using testing::GpgHome;
using ::testing::HasSubstr;
using testing::SharedKey;
using testing::TempDir;

constexpr std::string_view kBytes = "the bytes of an App Container Image";

class AppcSigned : public ::testing::Test {
 protected:
  AppcSigned() {
    dir_.dir().WriteFileAtomically(RelPath::Parse("policy.json"), R"({"default":[{"type":"reject"}]})");
    Trust("example.com/app", SharedKey::Get().fingerprint, SharedKey::Get().public_key);
  }

  void Trust(const std::string& prefix, const std::string& fingerprint, const std::string& key) const {
    AddTrustedKey(dir_.path() + "/trustedkeys", prefix, LowerAscii(fingerprint), key);
  }
  Policy Load() const { return Policy::Load(dir_.path() + "/policy.json"); }

  // What gpg makes of `content`.
  std::string Sign(std::vector<std::string> options = {}, std::string_view content = kBytes) const {
    return SignWith(SharedKey::Get().home, SharedKey::Get().fingerprint, std::move(options), content);
  }
  static std::string SignWith(const GpgHome& home, const std::string& key, std::vector<std::string> options,
                              std::string_view content = kBytes) {
    for (const char* more : {"--local-user", key.c_str(), "--detach-sign", "--output", "-"}) {
      options.emplace_back(more);
    }
    return home.Run(options, content);
  }

  static AppcFile File(const std::string& name, std::optional<std::string> signature,
                       const std::string& bytes = std::string(kBytes)) {
    return {.file = name + ".aci",
            .name = name,
            .pinned = false,
            .signature = std::move(signature),
            .open = [bytes] { return StringSource(bytes); },
            .hashed = HashOf(bytes)};
  }
  static Hasher HashOf(std::string_view bytes, HashAlgorithm algorithm = HashAlgorithm::kSha256) {
    Hasher hasher(algorithm);
    hasher.Update(AsBytes(bytes));
    return hasher;
  }
  Decision Decide(std::vector<AppcFile> files) const { return Decide(std::move(files), Load()); }
  static Decision Decide(std::vector<AppcFile> files, const Policy& policy) {
    Evidence evidence;
    evidence.transport = "aci";
    evidence.path = "/home/x.aci";
    evidence.appc = std::move(files);
    return Verifier::Decide(image::FetchedImage(testing::ImageBuilder().Build(), std::nullopt), policy, evidence,
                            Detail::kWhole);
  }
  // "signed", or why it is refused.
  std::string CodeOf(const std::string& name, std::optional<std::string> signature) const {
    const Decision decision = Decide({File(name, std::move(signature))});
    EXPECT_EQ(decision.allowed, decision.code == "signed");
    return decision.code;
  }

  TempDir dir_;
};

TEST_F(AppcSigned, TakesArmoredAndBinarySignatures) {
  EXPECT_EQ(CodeOf("example.com/app", Sign({"--armor"})), "signed");
  const Decision decision = Decide({File("example.com/app/worker", Sign())});
  EXPECT_TRUE(decision.allowed) << decision.Explain();
  EXPECT_EQ(decision.scope, "appc: example.com/app");
  EXPECT_EQ(decision.evidence, "appcSigned " + SharedKey::Get().fingerprint);
}

TEST_F(AppcSigned, AKeyForAppIsNoKeyForApple) {
  EXPECT_EQ(CodeOf("example.com/apple", Sign({"--armor"})), "rejected");
  EXPECT_EQ(CodeOf("example.com", Sign({"--armor"})), "rejected");
}

TEST_F(AppcSigned, RefusesAnUnsignedFileAndSaysWhatTheSignerCanRun) {
  const Decision decision = Decide({File("example.com/app", std::nullopt)});
  EXPECT_EQ(decision.code, "no-signature");
  EXPECT_THAT(decision.hint, HasSubstr("gantry sign --key KEY aci:example.com/app.aci"));
  EXPECT_THAT(Decide({File("example.org/x", Sign())}).hint,
              HasSubstr("gantry trust add --policy " + dir_.path() + "/policy.json --prefix example.org/x KEYFILE"));
}

TEST_F(AppcSigned, RefusesSignaturesOfOtherBytes) {
  EXPECT_EQ(CodeOf("example.com/app", Sign({}, "other bytes")), "bad-signature");
}

// The file that was signed is swapped for another after it was read as an image.
TEST_F(AppcSigned, RefusesAFileThatChangedSinceItWasRead) {
  AppcFile file = File("example.com/app", Sign());
  file.hashed.emplace(HashOf("what the image was made of"));
  EXPECT_EQ(Decide({file}).code, "bad-signature");
  // By another hash than the signature's the file has to be read again.
  file.hashed.emplace(HashOf("what the image was made of", HashAlgorithm::kSha512));
  EXPECT_EQ(Decide({file}).code, "file-changed");
}

// What the signature rests on is asked of the hash that the image was read with, and of the file only where that is
// another one.
TEST_F(AppcSigned, ReadsAFileAgainOnlyForAnotherHash) {
  AppcFile file = File("example.com/app", Sign({"--digest-algo", "SHA256"}));
  int opened = 0;
  file.open = [&opened] {
    ++opened;
    return StringSource(std::string(kBytes));
  };
  EXPECT_EQ(Decide({file}).code, "signed");
  EXPECT_EQ(opened, 0);
  file.hashed.emplace(HashOf(kBytes, HashAlgorithm::kSha512));
  EXPECT_EQ(Decide({file}).code, "signed");
  EXPECT_EQ(opened, 1);
  file.signature = Sign({"--digest-algo", "SHA512"});
  EXPECT_EQ(Decide({file}).code, "signed");
  EXPECT_EQ(opened, 1);
}

TEST_F(AppcSigned, RefusesConcatenatedSignatures) {
  EXPECT_EQ(CodeOf("example.com/app", Sign({"--armor"}) + Sign({"--armor"})), "not-one-message");
  EXPECT_EQ(CodeOf("example.com/app", Sign() + Sign()), "not-one-message");
}

TEST_F(AppcSigned, RefusesCleartextAndOpaqueMessages) {
  const SharedKey& key = SharedKey::Get();
  EXPECT_EQ(CodeOf("example.com/app", key.home.Run({"--local-user", key.fingerprint, "--clear-sign"}, kBytes)),
            "not-one-message");
  EXPECT_EQ(CodeOf("example.com/app", key.home.Sign(key.fingerprint, kBytes)), "not-one-message");
}

TEST_F(AppcSigned, RefusesSignaturesOfText) {
  EXPECT_EQ(CodeOf("example.com/app", Sign({"--textmode", "--armor"})), "not-one-message");
}

TEST_F(AppcSigned, RefusesDatesInTheFuture) {
  EXPECT_EQ(CodeOf("example.com/app", Sign({"--armor", "--faked-system-time", "20990101T000000"})), "future-signature");
}

TEST_F(AppcSigned, RefusesSha1) {
  EXPECT_EQ(CodeOf("example.com/app", Sign({"--armor", "--digest-algo", "SHA1", "--allow-weak-digest-algos"})),
            "weak-digest");
}

TEST_F(AppcSigned, RefusesExpiredKeysAndSignatures) {
  const GpgHome home;
  const std::string key =
      home.Generate("old <o@x.example>", "ed25519", "sign", "10d", {"--faked-system-time", "20200101T000000"});
  Trust("example.com/old", key, home.Export(key));
  // rkt passes over the date (golang.org/x/crypto/openpgp).
  EXPECT_EQ(CodeOf("example.com/old", SignWith(home, key, {"--faked-system-time", "20200102T000000"})), "expired-key");
  const std::string lasting =
      home.Generate("new <n@x.example>", "ed25519", "sign", "never", {"--faked-system-time", "20200101T000000"});
  Trust("example.com/new", lasting, home.Export(lasting));
  EXPECT_EQ(CodeOf("example.com/new",
                   SignWith(home, lasting, {"--faked-system-time", "20200102T000000", "--default-sig-expire", "5d"})),
            "expired-signature");
}

TEST_F(AppcSigned, RefusesRevokedKeys) {
  const GpgHome home;
  const std::string key = home.Generate("gone <g@x.example>");
  const std::string signature = SignWith(home, key, {"--armor"});
  Trust("example.com/gone", key, home.Export(key));
  EXPECT_EQ(CodeOf("example.com/gone", signature), "signed");
  std::string certificate = ReadFile(home.path() + "/openpgp-revocs.d/" + key + ".rev", 65536);
  home.Run({"--import"}, certificate.erase(certificate.find("\n:") + 1, 1));
  Trust("example.com/gone", key, home.Export(key));
  EXPECT_EQ(CodeOf("example.com/gone", signature), "revoked-key");
}

TEST_F(AppcSigned, TakesASubkeyForItsPrimaryKey) {
  const GpgHome home;
  const std::string primary = home.Generate("primary <p@x.example>", "ed25519", "cert");
  home.Run({"--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", primary, "ed25519", "sign"});
  Trust("example.com/sub", primary, home.Export(primary));
  EXPECT_EQ(CodeOf("example.com/sub", SignWith(home, primary, {"--armor"})), "signed");
}

// Two keys in a file that is named by one of them: the other one counts for nothing.
TEST_F(AppcSigned, AKeyCountsOnlyUnderItsOwnFingerprint) {
  const GpgHome home;
  const std::string one = home.Generate("one <1@x.example>");
  const std::string two = home.Generate("two <2@x.example>");
  Trust("example.com/two", one, home.Export(one) + home.Export(two));
  EXPECT_EQ(CodeOf("example.com/two", SignWith(home, one, {})), "signed");
  EXPECT_EQ(CodeOf("example.com/two", SignWith(home, two, {})), "unknown-key");
}

TEST_F(AppcSigned, AHiddenKeyCountsNoMore) {
  EXPECT_EQ(CodeOf("example.com/app/x", Sign()), "signed");
  const RelPath directory = RelPath::Parse("trustedkeys/prefix.d/example.com/app/x");
  dir_.dir().MakeDirs(directory).WriteFileAtomically(RelPath::Parse(LowerAscii(SharedKey::Get().fingerprint)), "");
  EXPECT_EQ(CodeOf("example.com/app/x", Sign()), "rejected");
  EXPECT_EQ(CodeOf("example.com/app", Sign()), "signed");
}

TEST_F(AppcSigned, ADependencyIsSignedUnderItsOwnNameOrPinned) {
  const std::string bytes = "a base image";
  AppcFile base = File("example.com/base", std::nullopt, bytes);
  const AppcFile top = File("example.com/app", Sign());
  Decision decision = Decide({base, top});
  EXPECT_EQ(decision.code, "no-trusted-key");
  EXPECT_THAT(decision.reason, HasSubstr("its dependency 'example.com/base.aci'"));
  base.pinned = true;
  EXPECT_TRUE(Decide({base, top}).allowed);
  base.pinned = false;
  Trust("example.com/base", SharedKey::Get().fingerprint, SharedKey::Get().public_key);
  EXPECT_EQ(Decide({base, top}).code, "no-signature");
  base.signature = Sign({}, bytes);
  EXPECT_TRUE(Decide({base, top}).allowed);
  // What is pinned vouches for nothing above it.
  EXPECT_EQ(Decide({base, File("example.com/app", std::nullopt)}).code, "no-signature");
}

TEST_F(AppcSigned, KeysInThePolicyDecideByThePlaceAlone) {
  const std::string key = EncodeBase64(SharedKey::Get().public_key);
  const auto policy = [&](const std::string& more) {
    return Policy::Parse(
        R"({"default":[{"type":"reject"}],"transports":{"aci":{"/home":[{"type":"appcSigned","keyData":")" + key +
            "\"" + more + "}]}}}",
        "test");
  };
  EXPECT_TRUE(Decide({File("any.example/name", Sign())}, policy("")).allowed);
  EXPECT_EQ(Decide({File("any.example/name", std::nullopt)}, policy("")).code, "no-signature");
  EXPECT_EQ(Decide({File("any.example/name", Sign())}, policy(R"(,"notBefore":"2099-01-01T00:00:00Z")")).code,
            "too-old");
  EXPECT_EQ(Decide({}, policy("")).code, "not-an-aci");
}

TEST_F(AppcSigned, OneSignerIsOneHoweverManyDependenciesHeSigned) {
  const std::string key = EncodeBase64(SharedKey::Get().public_key);
  const GpgHome home;
  const std::string other = home.Generate("other <o@x.example>");
  const Policy policy =
      Policy::Parse(R"({"default":[{"type":"threshold","count":2,"requirements":[{"type":"appcSigned","keyDatas":[")" +
                        key + "\",\"" + EncodeBase64(home.Export(other)) + R"("]}]}]})",
                    "test");
  EXPECT_EQ(Decide({File("x.example/base", SignWith(home, other, {})), File("x.example/top", Sign())}, policy).code,
            "threshold-not-met");
}

}  // namespace
}  // namespace gantry::sign
