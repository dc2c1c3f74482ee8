#include "libsign/crypto.h"

#include <gtest/gtest.h>

#include <vector>

#include "libimage/base/base64.h"
#include "libimage/base/process.h"
#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using testing::CaughtError;

constexpr std::string_view kMessage = "what is signed";

std::vector<Scheme> AllSchemes() {
  std::vector<Scheme> schemes = {{Scheme::Kind::kEd25519, KeyHash::kSha256},
                                 {Scheme::Kind::kEd25519ph, KeyHash::kSha256}};
  for (const auto kind :
       {Scheme::Kind::kEcdsaDer, Scheme::Kind::kEcdsaRaw, Scheme::Kind::kRsaPkcs1v15, Scheme::Kind::kRsaPss}) {
    for (const auto hash : {KeyHash::kSha256, KeyHash::kSha384, KeyHash::kSha512}) {
      schemes.push_back({kind, hash});
    }
  }
  return schemes;
}

// `openssl ARGS...`, which must succeed.
std::string OpenSsl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "openssl");
  const Captured ran = RunCaptured(arguments, {}, 65536);
  EXPECT_EQ(ran.status.code, 0) << arguments[1];
  return ran.output;
}

TEST(PrivateKey, SignsInEverySchemeThatGoesWithItAndNoOther) {
  for (const auto kind :
       {KeyKind::kEcdsaP256, KeyKind::kEcdsaP384, KeyKind::kEcdsaP521, KeyKind::kRsa, KeyKind::kEd25519}) {
    const PrivateKey key = PrivateKey::Generate(kind, 2048);
    EXPECT_EQ(key.public_key().kind(), kind);
    for (const Scheme& scheme : AllSchemes()) {
      if (!key.public_key().Goes(scheme)) {
        EXPECT_EQ(CaughtError([&] { key.Sign(scheme, kMessage); }).kind(), ErrorKind::kUnsupported);
        continue;
      }
      const std::string signature = key.Sign(scheme, kMessage);
      for (const Scheme& other : AllSchemes()) {
        EXPECT_EQ(key.public_key().Accepts(other, kMessage, signature), scheme == other)
            << Name(kind) << " signed " << scheme.Name() << ", asked for " << other.Name();
      }
      EXPECT_FALSE(key.public_key().Accepts(scheme, "what is signeD", signature));
      EXPECT_FALSE(key.public_key().Accepts(scheme, kMessage, signature + '\0'));
      EXPECT_FALSE(key.public_key().Accepts(scheme, kMessage, signature.substr(1)));
      EXPECT_FALSE(key.public_key().Accepts(scheme, kMessage, ""));
    }
  }
}

TEST(PublicKey, AcceptsNoSignatureWithOneBitChanged) {
  const PrivateKey key = PrivateKey::Generate(KeyKind::kEcdsaP256);
  const Scheme scheme = Scheme::DefaultFor(KeyKind::kEcdsaP256);
  const std::string signature = key.Sign(scheme, kMessage);
  for (size_t bit = 0; bit < signature.size() * 8; ++bit) {
    std::string changed = signature;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(key.public_key().Accepts(scheme, kMessage, changed)) << bit;
  }
}

// RFC 8032, 7.3.
TEST(PublicKey, AcceptsTheEd25519phVectorOfItsSpecification) {
  const auto bytes = [](std::string_view hex) {
    std::string out;
    for (size_t i = 0; i < hex.size(); i += 2) {
      out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    }
    return out;
  };
  const std::string point = bytes("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf");
  const std::string signature = bytes(
      "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062a"
      "aad11c2a26083406");
  const PublicKey key = PublicKey::Parse(bytes("302a300506032b6570032100") + point, "vector");
  EXPECT_TRUE(key.Accepts({Scheme::Kind::kEd25519ph, KeyHash::kSha256}, "abc", signature));
  EXPECT_FALSE(key.Accepts({Scheme::Kind::kEd25519, KeyHash::kSha256}, "abc", signature));
}

TEST(PublicKey, ReadsPemAndDerAndHasOneFingerprint) {
  const PrivateKey key = PrivateKey::Generate(KeyKind::kEcdsaP384);
  const PublicKey& pair = key.public_key();
  EXPECT_EQ(PublicKey::Parse(pair.ToPem(), "k").fingerprint(), pair.fingerprint());
  EXPECT_EQ(PublicKey::Parse("\n" + pair.ToPem() + "\n", "k"), pair);
  EXPECT_EQ(PublicKey::Parse(pair.spki(), "k"), pair);
  EXPECT_EQ(pair.bits(), 384U);
  EXPECT_EQ(pair.fingerprint().size(), 64U);
}

TEST(PublicKey, IsWrittenAsOpenSslWritesIt) {
  const testing::TempDir dir;
  const std::string file = dir.path() + "/key";
  for (const std::string curve : {"P-256", "P-384", "P-521", ""}) {
    if (curve.empty()) {
      OpenSsl({"genpkey", "-out", file, "-algorithm", "ED25519"});
    } else {
      OpenSsl({"genpkey", "-out", file, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + curve});
    }
    const std::string der = OpenSsl({"pkey", "-in", file, "-pubout", "-outform", "DER"});
    const std::string pem = OpenSsl({"pkey", "-in", file, "-pubout"});
    for (const std::string& text : {der, pem}) {
      EXPECT_EQ(PublicKey::Parse(text, "k").spki(), der) << curve;
      EXPECT_EQ(PublicKey::Parse(text, "k").ToPem(), pem) << curve;
    }
    const PrivateKey pair = PrivateKey::Parse(OpenSsl({"pkey", "-in", file}), "k");
    EXPECT_EQ(pair.public_key().spki(), der) << curve;
    const Scheme scheme = Scheme::DefaultFor(pair.public_key().kind());
    EXPECT_TRUE(PublicKey::Parse(der, "k").Accepts(scheme, kMessage, pair.Sign(scheme, kMessage))) << curve;
  }
}

TEST(PublicKey, ReadsAPointInFewBytes) {
  const testing::TempDir dir;
  const std::string file = dir.path() + "/key";
  OpenSsl({"genpkey", "-out", file, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"});
  for (const std::string form : {"compressed", "hybrid"}) {
    const std::string der = OpenSsl({"ec", "-in", file, "-pubout", "-conv_form", form, "-outform", "DER"});
    EXPECT_EQ(PublicKey::Parse(der, "k").spki(), der) << form;
  }
}

TEST(PublicKey, RefusesAPointThatIsNotOnItsCurve) {
  for (const auto kind : {KeyKind::kEcdsaP256, KeyKind::kEcdsaP384, KeyKind::kEcdsaP521}) {
    std::string der = PrivateKey::Generate(kind).public_key().spki();
    der.back() = static_cast<char>(der.back() ^ 1);
    EXPECT_EQ(CaughtError([&] { PublicKey::Parse(der, "k"); }).kind(), ErrorKind::kCorrupt) << Name(kind);
  }
}

TEST(PublicKey, ReadsRsaPublicKeyOfOpenSsl) {
  const testing::TempDir dir;
  const std::string key = dir.path() + "/key";
  OpenSsl({"genrsa", "-out", key, "2048"});
  const std::string old_form = OpenSsl({"rsa", "-in", key, "-RSAPublicKey_out"});
  ASSERT_NE(old_form.find("BEGIN RSA PUBLIC KEY"), std::string::npos);
  EXPECT_EQ(PublicKey::Parse(old_form, "k"), PublicKey::Parse(OpenSsl({"rsa", "-in", key, "-pubout"}), "k"));
}

TEST(PublicKey, RefusesWhatIsNotOneKeyOfAKnownKind) {
  const std::string pem = PrivateKey::Generate(KeyKind::kEd25519).public_key().ToPem();
  const std::string der = PublicKey::Parse(pem, "k").spki();
  for (const std::string& text : {std::string(), std::string("x"), pem + pem, pem + "x", "x" + pem, der + "x",
                                  der.substr(0, der.size() - 1), pem.substr(0, pem.size() - 10)}) {
    EXPECT_EQ(CaughtError([&] { PublicKey::Parse(text, "k"); }).kind(), ErrorKind::kCorrupt) << text;
  }
}

TEST(PublicKey, RefusesWeakKeysAndOtherCurves) {
  const testing::TempDir dir;
  const std::string key = dir.path() + "/key";
  const std::vector<std::vector<std::string>> kinds = {
      {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"},
      {"-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"},
      {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp224r1"},
      {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"},
      {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"},
      {"-algorithm", "ED448"},
      {"-algorithm", "X25519"}};
  for (const auto& kind : kinds) {
    std::vector<std::string> arguments = {"genpkey", "-out", key};
    arguments.insert(arguments.end(), kind.begin(), kind.end());
    OpenSsl(arguments);
    const std::string pem = OpenSsl({"pkey", "-in", key, "-pubout"});
    EXPECT_EQ(CaughtError([&] { PublicKey::Parse(pem, "k"); }).kind(), ErrorKind::kUnsupported) << kind.back();
  }
}

TEST(PrivateKey, ComesBackFromPkcs8InTheClearAndEncrypted) {
  const SecretBytes passphrase(std::string_view("open sesame"));
  const SecretBytes wrong(std::string_view("open barley"));
  for (const auto kind : {KeyKind::kEcdsaP521, KeyKind::kRsa, KeyKind::kEd25519}) {
    const PrivateKey key = PrivateKey::Generate(kind, 2048);
    EXPECT_EQ(PrivateKey::Parse(key.ToPkcs8().view(), "k").public_key(), key.public_key());
    const std::string sealed = key.ToEncryptedPem(passphrase);
    EXPECT_EQ(PrivateKey::Parse(sealed, "k", &passphrase).public_key(), key.public_key());
    EXPECT_EQ(CaughtError([&] { PrivateKey::Parse(sealed, "k", &wrong); }).kind(), ErrorKind::kRefused);
    EXPECT_EQ(CaughtError([&] { PrivateKey::Parse(sealed, "k"); }).kind(), ErrorKind::kRefused);
  }
  EXPECT_EQ(CaughtError([] { PrivateKey::Parse("no key", "k"); }).kind(), ErrorKind::kCorrupt);
}

TEST(PrivateKey, AgreesWithOpenSsl) {
  const testing::TempDir dir;
  const PrivateKey key = PrivateKey::Generate(KeyKind::kEcdsaP256);
  dir.dir().WriteFileAtomically(RelPath::Parse("pub"), key.public_key().ToPem());
  dir.dir().WriteFileAtomically(RelPath::Parse("message"), kMessage);
  dir.dir().WriteFileAtomically(RelPath::Parse("signature"),
                                key.Sign(Scheme::DefaultFor(KeyKind::kEcdsaP256), kMessage));
  const std::string at = dir.path() + "/";
  EXPECT_EQ(OpenSsl({"dgst", "-sha256", "-verify", at + "pub", "-signature", at + "signature", at + "message"}),
            "Verified OK\n");
}

TEST(Scheme, HasANameThatReadsBack) {
  for (const Scheme& scheme : AllSchemes()) {
    if (scheme.kind != Scheme::Kind::kEcdsaRaw) {
      EXPECT_EQ(Scheme::Parse(scheme.Name())->Name(), scheme.Name());
    }
  }
  EXPECT_EQ(Scheme::Parse("ecdsa-raw-sha256"), std::nullopt);
  EXPECT_EQ(Scheme::Parse("rsa-pkcs1v15-sha1"), std::nullopt);
}

// RFC 7914, 12.
TEST(Scrypt, ComputesTheVectorOfItsSpecification) {
  const auto out = Scrypt(SecretBytes(std::string_view("password")), "NaCl", 1024, 8, 16, 64);
  ASSERT_TRUE(out);
  EXPECT_EQ(EncodeBase64(out->view()),
            "/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA==");
}

TEST(SecretBytes, ShrinksAndMoves) {
  SecretBytes secret(std::string_view("secret"));
  secret.Shrink(3);
  const SecretBytes moved = std::move(secret);
  EXPECT_EQ(moved.view(), "sec");
}

}  // namespace
}  // namespace gantry::sign
