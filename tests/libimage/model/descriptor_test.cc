#include "libimage/model/descriptor.h"

#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;

const std::string kDigest = "sha256:" + std::string(64, 'a');

Descriptor ParseText(const std::string& text) {
  const json::Value value = json::Parse(text, "doc");
  return Descriptor::Parse(json::Cursor(value, "doc"));
}

// A descriptor with `members` in place of its size.
Descriptor WithMembers(const std::string& members) {
  return ParseText(R"({"mediaType":"a/b","digest":")" + kDigest + R"(",)" + members + "}");
}

TEST(PlatformTest, ParsesAndPrints) {
  EXPECT_EQ(Platform::Parse("linux/arm/v7"), (Platform{"linux", "arm", "v7", ""}));
  EXPECT_EQ(Platform::Parse("arm64"), (Platform{"linux", "arm64", "", ""}));
  EXPECT_EQ(Platform::Parse("Linux/X86_64").ToString(), "linux/amd64");
  EXPECT_EQ(Platform::Parse("aarch64").ToString(), "linux/arm64");
  EXPECT_EQ(Platform::Parse("armhf").ToString(), "linux/arm/v7");
}

TEST(PlatformTest, RefusesWhatIsNoPlatform) {
  const auto hint = [](std::string_view text) {
    const Error error = CaughtError([&] { Platform::Parse(text); });
    EXPECT_EQ(error.kind(), ErrorKind::kUsage) << text;
    return error.hint().substr(0, error.hint().find(';'));
  };
  EXPECT_EQ(hint(""), "at character 1: a name is missing");
  EXPECT_EQ(hint("linux/"), "at character 7: a name is missing");
  EXPECT_EQ(hint("linux//v7"), "at character 7: a name is missing");
  EXPECT_EQ(hint("linux/arm/v7/x"), "at character 13: more than three parts");
  EXPECT_EQ(hint("linux/a b"), "at character 8: this cannot be in a platform");
  EXPECT_EQ(hint("linux"), "at character 6: the architecture is missing");
  EXPECT_EQ(hint(std::string(1000, 'a')), "at character 129: too long");
}

TEST(PlatformTest, HostIsALinuxInGosSpelling) {
  const Platform host = Platform::Host();
  EXPECT_EQ(host.os, "linux");
  EXPECT_EQ(Platform::Parse(host.ToString()), host);
  EXPECT_NE(host.architecture, "x86_64");
}

TEST(DescriptorTest, ParsesAndPrintsInOrder) {
  const std::string text = R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":")" + kDigest +
                           R"(","size":7,"urls":["https://x/y"],"annotations":{"a":"b","c":""},)" +
                           R"("platform":{"architecture":"arm","os":"linux","os.version":"1.2","variant":"v7"},)" +
                           R"("artifactType":"application/x"})";
  const Descriptor parsed = ParseText(text);
  EXPECT_EQ(parsed.size, 7u);
  EXPECT_EQ(parsed.platform->ToString(), "linux/arm/v7");
  EXPECT_EQ(json::Print(parsed.ToJson()), text);
  EXPECT_EQ(ParseText(json::Print(parsed.ToJson())), parsed);
}

TEST(DescriptorTest, IgnoresUnknownAndNullMembers) {
  const Descriptor parsed = WithMembers(R"("size":1,"data":"e30=","urls":null,"annotations":null,"platform":null)");
  EXPECT_TRUE(parsed.urls.empty());
  EXPECT_FALSE(parsed.platform);
}

TEST(DescriptorTest, TakesAnUnsetPlatformOfGoForNone) {
  EXPECT_FALSE(WithMembers(R"("size":1,"platform":{"architecture":"","os":""})").platform);
}

TEST(DescriptorTest, RefusesSizesThatAreNone) {
  for (const char* size : {"0", "-1", "1.0", "1e3", "\"1\"", "null", "1099511627777", "18446744073709551616", "[1]"}) {
    EXPECT_EQ(CaughtError([&] { WithMembers("\"size\":" + std::string(size)); }).kind(), ErrorKind::kCorrupt) << size;
  }
  EXPECT_EQ(WithMembers(R"("size":1099511627776)").size, kMaxBlobBytes);
}

TEST(DescriptorTest, OnlyTheFileOfAnArtifactMayBeEmpty) {
  const auto parse = [](std::string_view type, const std::string& digest) {
    return ParseText(R"({"mediaType":")" + std::string(type) + R"(","digest":")" + digest + R"(","size":0})");
  };
  for (const HashAlgorithm algorithm : {HashAlgorithm::kSha256, HashAlgorithm::kSha512})
    EXPECT_EQ(parse("text/plain", Digest::Of("", algorithm).str()).size, 0u);
  EXPECT_EQ(CaughtError([&] { parse("text/plain", Digest::Of("x").str()); }).kind(), ErrorKind::kCorrupt);
  for (const std::string_view type : {kOciManifestType, kDockerListType, kOciArtifactManifestType, kOciConfigType,
                                      kOciLayerGzipType, kDockerLayerType, kDockerSchema1Type})
    EXPECT_EQ(CaughtError([&] { parse(type, Digest::Of("").str()); }).kind(), ErrorKind::kCorrupt) << type;
}

TEST(DescriptorTest, SaysWhereTheDigestIsWrong) {
  const Error error =
      CaughtError([] { ParseText(R"({"mediaType":"a/b","digest":"sha256:../../etc/passwd","size":1})"); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_NE(error.message().find("doc: '/digest': "), std::string::npos) << error.message();
}

TEST(DescriptorTest, RefusesMediaTypesThatAreNone) {
  for (const char* type : {"", "text", "/x", "x/", "a/\\u001b[0m", "a/\xc3\xa9"}) {
    const std::string text = R"({"mediaType":")" + std::string(type) + R"(","digest":")" + kDigest + R"(","size":1})";
    EXPECT_EQ(CaughtError([&] { ParseText(text); }).kind(), ErrorKind::kCorrupt) << type;
  }
}

TEST(DescriptorTest, BoundsItsLists) {
  std::string urls;
  for (int i = 0; i < 65; ++i) urls += (i > 0 ? "," : "") + std::string("\"https://x\"");
  EXPECT_NE(CaughtError([&] { WithMembers("\"size\":1,\"urls\":[" + urls + "]"); }).message().find("'/urls'"),
            std::string::npos);
  std::string annotations;
  for (size_t i = 0; i <= kMaxAnnotations; ++i) annotations += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
  EXPECT_NE(CaughtError([&] { WithMembers("\"size\":1,\"annotations\":{" + annotations + "}"); })
                .message()
                .find("'/annotations'"),
            std::string::npos);
}

}  // namespace
}  // namespace gantry::image
