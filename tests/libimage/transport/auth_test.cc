#include "libimage/transport/auth.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;

TEST(Challenges, OneBearer) {
  const auto all = ParseChallenges(
      {R"(Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push")"});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].scheme, "bearer");
  EXPECT_EQ(all[0].Param("realm"), "https://auth.example/token");
  EXPECT_EQ(all[0].Param("service"), "registry.example");
  EXPECT_EQ(all[0].Param("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(all[0].Param("absent"), "");
}

TEST(Challenges, SeveralInOneHeaderAndSeveralHeaders) {
  const auto all = ParseChallenges({R"(Negotiate abc/d+e==, BASIC Realm = "x" , Bearer realm=y)", "Digest qop=auth"});
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].scheme, "negotiate");
  EXPECT_TRUE(all[0].params.empty());
  EXPECT_EQ(all[1].scheme, "basic");
  EXPECT_EQ(all[1].Param("realm"), "x");
  EXPECT_EQ(all[2].Param("realm"), "y");
  EXPECT_EQ(all[3].Param("qop"), "auth");
}

TEST(Challenges, QuotedStringsKeepCommasAndUndoBackslashes) {
  const auto all = ParseChallenges({R"(Basic realm="a, \"b\" \\ c", charset="UTF-8")"});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].Param("realm"), R"(a, "b" \ c)");
  EXPECT_EQ(all[0].Param("charset"), "UTF-8");
}

TEST(Challenges, StopAtNonsenseAndAreBounded) {
  EXPECT_TRUE(ParseChallenges({"", " , ,", "=x", "\"quoted\""}).empty());
  EXPECT_EQ(ParseChallenges({R"(Basic realm="unclosed)"}).at(0).Param("realm"), "");
  EXPECT_EQ(ParseChallenges({R"(Basic realm="ends with \)"}).size(), 1u);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "Basic, ";
  EXPECT_EQ(ParseChallenges({many}).size(), kMaxChallenges);
}

std::string Auths(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string out = R"({"auths":{)";
  for (const auto& [key, pair] : entries)
    out += (out.back() == '{' ? "\"" : ",\"") + key + R"(":{"auth":")" + EncodeBase64(pair) + R"("})";
  return out + "}}";
}

std::optional<Credentials> Find(const std::string& json, const std::string& name) {
  return FindCredentialsIn(json, DockerReference::Parse(name), "test");
}

TEST(AuthFile, TheLongestPathWins) {
  const std::string json =
      Auths({{"r.example", "host:1"}, {"r.example/a", "a:2"}, {"r.example/a/b", "ab:3:with:colons"}});
  EXPECT_EQ(Find(json, "r.example/a/b"), (Credentials{"ab", "3:with:colons"}));
  EXPECT_EQ(Find(json, "r.example/a/c"), (Credentials{"a", "2"}));
  EXPECT_EQ(Find(json, "r.example/ab"), (Credentials{"host", "1"}));
  EXPECT_EQ(Find(json, "other.example/a"), std::nullopt);
  EXPECT_EQ(Find(json, "r.example:5000/a"), std::nullopt);
}

TEST(AuthFile, DockersKeysAreUrls) {
  const std::string json = Auths({{"https://index.docker.io/v1/", "hub:1"}, {"https://r.example/v2/", "r:2"}});
  EXPECT_EQ(Find(json, "alpine"), (Credentials{"hub", "1"}));
  EXPECT_EQ(Find(json, "r.example/x"), (Credentials{"r", "2"}));
}

TEST(AuthFile, EntriesOfHelpersCountAsNone) {
  EXPECT_EQ(Find(R"({"auths":{"r.example":{}},"credsStore":"x"})", "r.example/a"), std::nullopt);
  EXPECT_EQ(Find(R"({"credHelpers":{"r.example":"x"}})", "r.example/a"), std::nullopt);
  EXPECT_EQ(Find(R"({"auths":{"r.example":{"username":"u","password":"p"}}})", "r.example/a"), (Credentials{"u", "p"}));
}

TEST(AuthFile, NeverRepeatsASecret) {
  const Error error = CaughtError([] { Find(R"({"auths":{"r.example":{"auth":"c2VjcmV0"}}})", "r.example/a"); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(error.message().find("c2VjcmV0"), std::string::npos) << error.message();
  EXPECT_EQ(error.message().find("secret"), std::string::npos) << error.message();
}

class AuthPlaces : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "HOME"}) {
      const char* value = std::getenv(name);
      before_.emplace_back(name, value != nullptr ? std::optional<std::string>(value) : std::nullopt);
      unsetenv(name);
    }
  }
  void TearDown() override {
    for (const auto& [name, value] : before_) {
      if (value)
        setenv(name.c_str(), value->c_str(), 1);
      else
        unsetenv(name.c_str());
    }
  }
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

TEST_F(AuthPlaces, InOrder) {
  setenv("HOME", "/h", 1);
  EXPECT_EQ(AuthFiles(), (std::vector<std::string>{"/run/containers/" + std::to_string(geteuid()) + "/auth.json",
                                                   "/h/.config/containers/auth.json", "/h/.docker/config.json"}));
  setenv("XDG_RUNTIME_DIR", "/r", 1);
  setenv("XDG_CONFIG_HOME", "/c", 1);
  setenv("DOCKER_CONFIG", "/d", 1);
  EXPECT_EQ(AuthFiles(),
            (std::vector<std::string>{"/r/containers/auth.json", "/c/containers/auth.json", "/d/config.json"}));
  setenv("REGISTRY_AUTH_FILE", "/only", 1);
  EXPECT_EQ(AuthFiles(), (std::vector<std::string>{"/only"}));
}

TEST_F(AuthPlaces, TheFirstFileThatKnowsWins) {
  const testing::TempDir temp;
  setenv("XDG_RUNTIME_DIR", (temp.path() + "/absent").c_str(), 1);
  setenv("XDG_CONFIG_HOME", temp.path().c_str(), 1);
  setenv("DOCKER_CONFIG", temp.path().c_str(), 1);
  temp.dir().MakeDirs(RelPath::Parse("containers"));
  temp.dir().WriteFileAtomically(RelPath::Parse("containers/auth.json"), Auths({{"a.example", "first:1"}}));
  temp.dir().WriteFileAtomically(RelPath::Parse("config.json"),
                                 Auths({{"a.example", "x:1"}, {"b.example", "second:2"}}));
  EXPECT_EQ(FindCredentials(DockerReference::Parse("a.example/x")), (Credentials{"first", "1"}));
  EXPECT_EQ(FindCredentials(DockerReference::Parse("b.example/x")), (Credentials{"second", "2"}));
  EXPECT_EQ(FindCredentials(DockerReference::Parse("c.example/x")), std::nullopt);
}

}  // namespace
}  // namespace gantry::image
