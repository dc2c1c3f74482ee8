#include "libsign/sealed_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/base64.h"
#include "libimage/base/json.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using testing::CaughtError;

SecretBytes Secret(std::string_view text) { return SecretBytes(text); }

std::string Pem(const std::string& label, const std::string& body) {
  return "-----BEGIN " + label + "-----\n" + EncodeBase64(body) + "\n-----END " + label + "-----\n";
}

std::string Body(const std::string& params, const std::string& more = "") {
  const std::string salt = EncodeBase64(std::string(32, 's'));
  const std::string nonce = EncodeBase64(std::string(24, 'n'));
  return R"({"kdf":{"name":"scrypt","params":)" + params + R"(,"salt":")" + salt +
         R"("},"cipher":{"name":"nacl/secretbox","nonce":")" + nonce + R"("},"ciphertext":"AAAA")" + more + "}";
}

TEST(SealedKey, OpensWithItsPassphraseAndNoOther) {
  const PrivateKey key = PrivateKey::Generate(KeyKind::kEcdsaP256);
  const std::string sealed = SealKey(key, Secret("open sesame"));
  EXPECT_TRUE(IsSealedKey(sealed));
  EXPECT_TRUE(IsEncryptedKey(sealed));
  const SecretBytes right = Secret("open sesame");
  const SecretBytes wrong = Secret("open barley");
  EXPECT_EQ(ReadPrivateKey(sealed, "k", &right).public_key(), key.public_key());
  EXPECT_EQ(CaughtError([&] { ReadPrivateKey(sealed, "k", &wrong); }).kind(), ErrorKind::kRefused);
  EXPECT_EQ(CaughtError([&] { ReadPrivateKey(sealed, "k", nullptr); }).kind(), ErrorKind::kRefused);
}

TEST(SealedKey, TheEmptyPassphraseIsOneAndTheOldLabelIsRead) {
  const PrivateKey key = PrivateKey::Generate(KeyKind::kEd25519);
  std::string sealed = SealKey(key, SecretBytes());
  for (size_t at = sealed.find("SIGSTORE"); at != std::string::npos; at = sealed.find("SIGSTORE")) {
    sealed.replace(at, 8, "COSIGN");
  }
  EXPECT_EQ(ReadPrivateKey(sealed, "k", nullptr).public_key(), key.public_key());
}

TEST(SealedKey, RefusesNumbersThatCosignNeverWrote) {
  for (const char* params : {R"({"N":1048576,"r":8,"p":1})", R"({"N":16384,"r":8,"p":1})",
                             R"({"N":65536,"r":16,"p":1})", R"({"N":65536,"r":8,"p":2})"}) {
    const Error error =
        CaughtError([&] { ReadPrivateKey(Pem("ENCRYPTED SIGSTORE PRIVATE KEY", Body(params)), "k", nullptr); });
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << params;
  }
}

TEST(SealedKey, RefusesEveryDeviation) {
  const std::string good = R"({"N":32768,"r":8,"p":1})";
  const std::string label = "ENCRYPTED SIGSTORE PRIVATE KEY";
  EXPECT_EQ(CaughtError([&] { ReadPrivateKey(Pem(label, Body(good)), "k", nullptr); }).kind(), ErrorKind::kRefused);
  for (const std::string& text :
       {Pem(label, Body(good, R"(,"x":1)")), Pem(label, Body(R"({"N":32768,"r":8,"p":1,"x":1})")),
        Pem(label, Body(good) + "x"), Pem(label, "x"), Pem(label, ""), "-----BEGIN " + label + "-----\n",
        Pem(label, Body(good)) + "x", Pem(label, Body(good)).substr(0, 100)}) {
    EXPECT_EQ(CaughtError([&] { ReadPrivateKey(text, "k", nullptr); }).kind(), ErrorKind::kCorrupt) << text;
  }
}

}  // namespace
}  // namespace gantry::sign
