#include "libimage/model/aci_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::Pair;

const std::string kHead = R"({"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app")";

// The error of a manifest with these members after the required ones.
Error Problem(const std::string& members) {
  return CaughtError([&] { AciManifest::Parse(kHead + "," + members + "}"); });
}

void ExpectCorrupt(const std::string& members, std::string_view part) {
  const Error error = Problem(members);
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << members;
  EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
}

void ExpectAppCorrupt(const std::string& members, std::string_view part) {
  ExpectCorrupt(R"("app":{"exec":["/a"],"user":"0","group":"0",)" + members + "}", part);
}

// Everything that a manifest can have, in the order of the writer.
std::string FullText() {
  return kHead +
         R"(,"labels":[{"name":"arch","value":"amd64"},{"name":"os","value":"linux"},)"
         R"({"name":"version","value":"1"}],)"
         R"("app":{"exec":["/bin/a","-x"],"eventHandlers":[{"name":"pre-start","exec":["/p"]}],)"
         R"("user":"0","group":"staff","supplementaryGIDs":[10,20],"workingDirectory":"/srv",)"
         R"("environment":[{"name":"PATH","value":"/bin"},{"name":"E","value":""}],)"
         R"("mountPoints":[{"name":"volume-a","path":"/a"},{"name":"b","path":"/b","readOnly":true}],)"
         R"("ports":[{"name":"80-tcp","protocol":"tcp","port":80,"count":1,"socketActivated":false}],)"
         R"("isolators":[{"name":"os/linux/no-new-privileges","value":true}],)"
         R"("userAnnotations":{"z":"1"},"userLabels":{"y":"2"}},)"
         R"("annotations":[{"name":"created","value":"2024-01-02T03:04:05.6Z"},)"
         R"({"name":"homepage","value":"https://example.com"}],)"
         R"("dependencies":[{"imageName":"example.com/base","imageID":"sha512-)" +
         std::string(128, 'a') +
         R"(","labels":[{"name":"os","value":"linux"}],"size":7}],"pathWhitelist":["/a","/b/c"]})";
}

TEST(AciManifestTest, ReadsEverythingAndPrintsItInOrder) {
  const AciManifest manifest = AciManifest::Parse(FullText());
  EXPECT_EQ(manifest.name, "example.com/app");
  EXPECT_THAT(manifest.labels, ElementsAre(Pair("arch", "amd64"), Pair("os", "linux"), Pair("version", "1")));
  ASSERT_TRUE(manifest.app);
  EXPECT_THAT(manifest.app->exec, ElementsAre("/bin/a", "-x"));
  EXPECT_EQ(manifest.app->group, "staff");
  EXPECT_THAT(manifest.app->supplementary_gids, ElementsAre(10, 20));
  EXPECT_TRUE(manifest.app->mount_points.at(1).read_only);
  EXPECT_EQ(manifest.app->ports.at(0).port, 80u);
  EXPECT_EQ(manifest.app->isolators.at(0).second, json::Value(true));
  EXPECT_EQ(manifest.dependencies.at(0).size, 7u);
  EXPECT_THAT(manifest.path_whitelist, ElementsAre("/a", "/b/c"));
  EXPECT_EQ(manifest.ToJson(), FullText());
}

TEST(AciManifestTest, PrintsLabelsSortedAndLeavesOutWhatIsEmpty) {
  AciManifest manifest{.name = "a", .labels = {{"version", "1"}, {"arch", "amd64"}, {"os", "linux"}}};
  EXPECT_EQ(manifest.ToJson(),
            R"({"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","labels":[{"name":"arch","value":"amd64"},)"
            R"({"name":"os","value":"linux"},{"name":"version","value":"1"}]})");
  manifest.labels.clear();
  manifest.app = AciApp{.user = "0", .group = "0"};
  EXPECT_EQ(manifest.ToJson(),
            R"({"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{"user":"0","group":"0"}})");
}

TEST(AciManifestTest, ReadsWhatDocker2aciWrites) {
  const AciManifest manifest = AciManifest::Parse(
      R"({"acKind":"ImageManifest","acVersion":"0.8.10","name":"h_5000/a__b","labels":[],"app":{"exec":null,"user":"0",)"
      R"("group":"0","ports":[{"name":"80-tcp","protocol":"tcp","port":80,"count":0,"socketActivated":false}]},"x":1})");
  EXPECT_EQ(manifest.app->ports.at(0).count, 1u);
  EXPECT_TRUE(manifest.app->exec.empty());
}

TEST(AciManifestTest, RequiresKindVersionAndName) {
  const auto message = [](std::string_view text) { return CaughtError([&] { AciManifest::Parse(text); }).message(); };
  EXPECT_NE(message(R"({})").find("'acKind'"), std::string::npos);
  EXPECT_NE(message(R"({"acKind":"PodManifest","acVersion":"0.8.11","name":"a"})").find("'acKind'"), std::string::npos);
  EXPECT_NE(message(R"({"acKind":"ImageManifest","name":"a"})").find("'acVersion'"), std::string::npos);
  EXPECT_NE(message(R"({"acKind":"ImageManifest","acVersion":"0.8.11"})").find("'name'"), std::string::npos);
  EXPECT_NE(message(R"({"acKind":"ImageManifest","acVersion":"0.8.11","name":"A"})").find("AC Identifier"),
            std::string::npos);
  for (const char* version : {"0.0.0", "0.8", "x", "0.8.", "0.8.11.1", "..", "0..1", "-1.0.0"}) {
    EXPECT_NE(message(R"({"acKind":"ImageManifest","acVersion":")" + std::string(version) + R"(","name":"a"})")
                  .find("semantic version"),
              std::string::npos)
        << version;
  }
  EXPECT_EQ(
      CaughtError([] { AciManifest::Parse(R"({"acKind":"ImageManifest","acVersion":"1.0.0","name":"a"})"); }).kind(),
      ErrorKind::kUnsupported);
  EXPECT_NO_THROW(AciManifest::Parse(R"({"acKind":"ImageManifest","acVersion":"0.8.1+git","name":"a"})"));
}

TEST(AciManifestTest, RefusesTwoNamesThatDifferInLetterCaseOnly) { ExpectCorrupt(R"("Name":"b")", "letter case"); }

TEST(AciManifestTest, ChecksLabels) {
  ExpectCorrupt(R"("labels":[{"name":"name","value":"x"}])", "called 'name'");
  ExpectCorrupt(R"("labels":[{"name":"a","value":"x"},{"name":"a","value":"y"}])", "the second of name 'a'");
  ExpectCorrupt(R"("labels":[{"name":"A","value":"x"}])", "AC Identifier");
  ExpectCorrupt(R"("labels":[{"name":"os","value":"plan9"}])", "label 'os'");
  ExpectCorrupt(R"("labels":[{"name":"os","value":"linux"},{"name":"arch","value":"riscv64"}])", "label 'arch'");
  ExpectCorrupt(R"("labels":[{"name":"os","value":"linux"},{"name":"arch","value":"amd64 i386"}])", "label 'arch'");
  ExpectCorrupt(R"("labels":[{"name":"os","value":"freebsd"},{"name":"arch","value":"s390x"}])", "label 'arch'");
}

TEST(AciManifestTest, ChecksAnnotations) {
  for (const char* time :
       {"", "2024-01-02", "2024-01-02T03:04:05", "2024-01-02T03:04:05.Z", "2024-01-02T03:04:05+1:00"}) {
    ExpectCorrupt(R"("annotations":[{"name":"created","value":")" + std::string(time) + "\"}]", "RFC 3339");
  }
  ExpectCorrupt(R"("annotations":[{"name":"homepage","value":"javascript:x"}])", "http");
  ExpectCorrupt(R"("annotations":[{"name":"a","value":""},{"name":"a","value":""}])", "second");
}

TEST(AciManifestTest, ChecksTheApp) {
  ExpectCorrupt(R"("app":{"exec":["/a"],"group":"0"})", "'user'");
  ExpectCorrupt(R"("app":{"exec":["/a"],"user":"0"})", "'group'");
  ExpectCorrupt(R"("app":{"exec":[""],"user":"0","group":"0"})", "'exec'");
  ExpectCorrupt(R"("app":{"exec":["a\u0000"],"user":"0","group":"0"})", "NUL");
  ExpectAppCorrupt(R"("workingDirectory":"srv")", "not absolute");
  ExpectAppCorrupt(R"("supplementaryGIDs":[-1])", "'/app/supplementaryGIDs/0'");
  ExpectAppCorrupt(R"("environment":[{"name":"1A","value":""}])", "a name of a variable");
  ExpectAppCorrupt(R"("environment":[{"name":"A","value":""},{"name":"A","value":""}])", "second");
  ExpectAppCorrupt(R"("eventHandlers":[{"name":"stop","exec":["/a"]}])", "post-stop");
  ExpectAppCorrupt(R"("eventHandlers":[{"name":"pre-start","exec":["/a"]},{"name":"pre-start","exec":["/a"]}])",
                   "second");
  ExpectAppCorrupt(R"("mountPoints":[{"name":"a/b","path":"/a"}])", "AC Name");
  ExpectAppCorrupt(R"("mountPoints":[{"name":"a","path":""}])", "'path'");
  ExpectAppCorrupt(R"("mountPoints":[{"name":"a","path":"/a"},{"name":"a","path":"/b"}])", "second");
  ExpectAppCorrupt(R"("isolators":[{"name":"","value":1}])", "'name'");
}

TEST(AciManifestTest, ChecksPorts) {
  const auto port = [](const std::string& members) {
    return R"("ports":[{"name":"a","protocol":"tcp",)" + members + "}]";
  };
  ExpectAppCorrupt(port(R"("port":0)"), "from 1 to 65535");
  ExpectAppCorrupt(port(R"("count":1)"), "from 1 to 65535");
  ExpectAppCorrupt(port(R"("port":65536)"), "65535");
  ExpectAppCorrupt(port(R"("port":80.5)"), "65535");
  ExpectAppCorrupt(port(R"("port":65535,"count":2)"), "ends after 65535");
  ExpectAppCorrupt(R"("ports":[{"name":"a","port":1}])", "'protocol'");
  ExpectAppCorrupt(R"("ports":[{"name":"a","protocol":"tcp","port":1},{"name":"a","protocol":"tcp","port":2}])",
                   "second");
}

TEST(AciManifestTest, ChecksDependenciesAndWhitelist) {
  ExpectCorrupt(R"("dependencies":[{"imageID":"x"}])", "'imageName'");
  ExpectCorrupt(R"("dependencies":[{"imageName":"a","imageID":"sha512-00"}])", "'imageID'");
  ExpectCorrupt(R"("dependencies":[{"imageName":"a","imageID":"sha256-)" + std::string(64, 'a') + "\"}]", "'imageID'");
  ExpectCorrupt(R"("dependencies":[{"imageName":"a","size":-1}])", "'/dependencies/0/size'");
  ExpectCorrupt(R"("dependencies":[{"imageName":"a","labels":[{"name":"name","value":""}]}])", "called 'name'");
  ExpectCorrupt(R"("pathWhitelist":["a"])", "not an absolute path");
  ExpectCorrupt(R"("pathWhitelist":["/a\u0000"])", "NUL");
}

TEST(AciManifestTest, BoundsItsSize) {
  EXPECT_NE(
      CaughtError([] { AciManifest::Parse(std::string(kMaxAciManifestBytes + 1, ' ')); }).message().find("larger"),
      std::string::npos);
}

TEST(AppcNamesTest, KnowsTheGrammar) {
  for (const char* good : {"a", "example.com/a", "a--b", "a__b", "a.b/c~d", "0"})
    EXPECT_TRUE(IsAcIdentifier(good)) << good;
  for (const char* bad : {"", "A", "-a", "a-", "a//b", "a/-b", "a./b", "a/../b", "/a", "a/", "a b", "é", "a:b"})
    EXPECT_FALSE(IsAcIdentifier(bad)) << bad;
  for (const char* good : {"a", "80-tcp", "a--b"}) EXPECT_TRUE(IsAcName(good)) << good;
  for (const char* bad : {"", "-", "-a", "a-", "a.b", "a/b", "a_b", "A"}) EXPECT_FALSE(IsAcName(bad)) << bad;
}

TEST(AppcNamesTest, SanitizesAsDocker2aciDoes) {
  EXPECT_EQ(ToAcIdentifier("127.0.0.1:5602/foo/bar"), "127.0.0.1_5602/foo/bar");
  EXPECT_EQ(ToAcIdentifier("Quay.IO/a__b--c"), "quay.io/a__b--c");
  EXPECT_EQ(ToAcIdentifier("[::1]:5000/a"), "1__5000/a");
  EXPECT_EQ(ToAcIdentifier("[::1]//../a"), "1/a");
  EXPECT_EQ(ToAcName("volume/var/lib/x_y"), "volume-var-lib-x-y");
  EXPECT_EQ(ToAcName("80/tcp"), "80-tcp");
  EXPECT_EQ(CaughtError([] { ToAcIdentifier("/__/"); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(CaughtError([] { ToAcName("é"); }).kind(), ErrorKind::kFailed);
}

TEST(AppcNamesTest, WhatIsSanitizedKeepsToTheGrammar) {
  for (int first = 1; first < 256; ++first) {
    for (const char second : {'/', '-', '.', 'A', ':', '\x80'}) {
      const std::string text = {'x', static_cast<char>(first), second, static_cast<char>(first), 'y'};
      EXPECT_TRUE(IsAcIdentifier(ToAcIdentifier(text))) << Quoted(text);
      EXPECT_TRUE(IsAcName(ToAcName(text))) << Quoted(text);
    }
  }
}

TEST(AppcNamesTest, TranslatesArchitectures) {
  EXPECT_EQ(ToAppcArch("amd64", ""), "amd64");
  EXPECT_EQ(ToAppcArch("386", ""), "i386");
  EXPECT_EQ(ToAppcArch("arm64", "v8"), "aarch64");
  EXPECT_EQ(ToAppcArch("arm", ""), "armv6l");
  EXPECT_EQ(ToAppcArch("arm", "v6"), "armv6l");
  EXPECT_EQ(ToAppcArch("arm", "v7"), "armv7l");
  EXPECT_EQ(ToAppcArch("arm", "v8"), "armv7l");
  EXPECT_EQ(ToAppcArch("arm", "v5"), std::nullopt);
  EXPECT_EQ(ToAppcArch("riscv64", ""), std::nullopt);
  EXPECT_EQ(FromAppcArch("i386"), (std::pair<std::string, std::string>("386", "")));
  EXPECT_EQ(FromAppcArch("armv7l"), (std::pair<std::string, std::string>("arm", "v7")));
  EXPECT_EQ(FromAppcArch("x86_64"), (std::pair<std::string, std::string>("amd64", "")));
  EXPECT_EQ(FromAppcArch("mips"), std::nullopt);
  for (const char* arch :
       {"amd64", "i386", "aarch64", "aarch64_be", "armv6l", "armv7l", "armv7b", "ppc64", "ppc64le", "s390x"}) {
    const auto go = FromAppcArch(arch);
    ASSERT_TRUE(go) << arch;
    EXPECT_EQ(ToAppcArch(go->first, go->second), arch);
  }
}

}  // namespace
}  // namespace gantry::image
