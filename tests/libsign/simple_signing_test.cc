#include "libsign/simple_signing.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using testing::CaughtError;

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string Payload(const std::string& optional = R"({"creator":"me","timestamp":1700000000})") {
  return R"({"critical":{"identity":{"docker-reference":"h.example/a:v1"},"image":{"docker-manifest-digest":")" +
         kDigest + R"("},"type":"atomic container signature"},"optional":)" + optional + "}";
}

std::string Replaced(const std::string& what, const std::string& with) {
  std::string text = Payload();
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

TEST(SimpleClaim, ReadsAndWritesTheFormat) {
  const SimpleClaim claim = SimpleClaim::Parse(Payload());
  EXPECT_EQ(claim.reference, DockerReference::Parse("h.example/a:v1"));
  EXPECT_EQ(claim.manifest.str(), kDigest);
  EXPECT_EQ(claim.creator, "me");
  EXPECT_EQ(claim.timestamp, 1'700'000'000);
  EXPECT_EQ(claim.ToJson(), Payload());
}

TEST(SimpleClaim, OptionalIsOpenButItsMembersAreTyped) {
  EXPECT_EQ(SimpleClaim::Parse(Payload(R"({"more":[1,{"x":null}]})")).timestamp, std::nullopt);
  EXPECT_EQ(SimpleClaim::Parse(Payload("{}")).creator, "");
  for (const char* optional : {R"({"timestamp":1.5})", R"({"timestamp":"1"})", R"({"timestamp":null})",
                               R"({"timestamp":99999999999999999999})", R"({"creator":1})", "null", "[]", "1"}) {
    EXPECT_EQ(CaughtError([&] { SimpleClaim::Parse(Payload(optional)); }).kind(), ErrorKind::kCorrupt) << optional;
  }
}

TEST(SimpleClaim, RefusesEveryDeviation) {
  const std::string identity = R"({"docker-reference":"h.example/a:v1"})";
  for (const std::string& text : {
           std::string(),
           Payload() + "x",
           Payload() + Payload(),
           Replaced("\"critical\"", "\"Critical\""),
           Replaced("\"type\"", "\"Type\""),
           Replaced("docker-reference", "Docker-Reference"),
           Replaced("atomic container signature", "cosign container image signature"),
           Replaced("\"type\":", "\"x\":1,\"type\":"),
           Replaced("\"type\":", "\"type\":\"atomic container signature\",\"type\":"),
           Replaced("\"optional\":", "\"more\":1,\"optional\":"),
           Replaced(identity, R"({"docker-reference":"h.example/a:v1","x":1})"),
           Replaced(identity, R"({})"),
           Replaced(identity, "[]"),
           Replaced("h.example/a:v1", "H.example/UPPER:v1"),
           Replaced("h.example/a:v1", ""),
           Replaced(kDigest, "sha256:abc"),
           Replaced(kDigest, "sha256:" + std::string(64, 'A')),
           Replaced(",\"optional\":{\"creator\":\"me\",\"timestamp\":1700000000}", ""),
       }) {
    EXPECT_EQ(CaughtError([&] { SimpleClaim::Parse(text); }).kind(), ErrorKind::kCorrupt) << text;
  }
}

TEST(SimpleClaim, RefusesLargeOnes) {
  const std::string text = Payload("{\"x\":\"" + std::string(kMaxPayloadBytes, 'x') + "\"}");
  EXPECT_EQ(CaughtError([&] { SimpleClaim::Parse(text); }).kind(), ErrorKind::kCorrupt);
}

TEST(StoredSignature, IsToldByItsFirstBytes) {
  for (const int first : {0xA0, 0xA3, 0xC8, 0x90, 0x93, 0xC4, 0x88, 0x8B, 0xC2}) {
    const std::string blob = std::string(1, static_cast<char>(first)) + "rest";
    EXPECT_EQ(StoredSignature::Detect(blob).format, StoredFormat::kOpenPgp) << first;
    const std::string prefixed = std::string("\0simple-signing\n", 16) + blob;
    EXPECT_EQ(StoredSignature::Detect(prefixed).format, StoredFormat::kOpenPgp) << first;
    EXPECT_EQ(StoredSignature::Detect(prefixed).message, blob);
  }
  EXPECT_EQ(StoredSignature::Detect(std::string("\0sigstore-json\n{}", 17)).format, StoredFormat::kSigstore);
  for (const std::string& other :
       {std::string(), std::string("-----BEGIN PGP"), std::string("{}"), std::string(1, '\0'),
        std::string("\0simple-signing\n-----", 21), std::string("\xB0")}) {
    EXPECT_EQ(StoredSignature::Detect(other).format, StoredFormat::kNotUnderstood) << other;
  }
}

}  // namespace
}  // namespace gantry::sign
