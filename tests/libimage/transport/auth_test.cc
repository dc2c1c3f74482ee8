#include "libimage/transport/auth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/registry.h"
#include "tests/support/registry_server.h"
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

TEST(AuthFile, IdentityTokensStandForPasswords) {
  const std::string json = R"({"auths":{"r.example":{"auth":")" + EncodeBase64("u:") + R"(","identitytoken":"t0k"}}})";
  EXPECT_EQ(Find(json, "r.example/a"), (Credentials{"u", "", "t0k"}));
}

TEST(AuthFile, HelpersAreNamedByRegistryOrForAll) {
  const std::string json =
      R"({"credsStore":"all","credHelpers":{"r.example":"own","https://index.docker.io/v1/":"hub"}})";
  EXPECT_EQ(FindHelpersIn(json, "r.example", "test").own, "own");
  EXPECT_EQ(FindHelpersIn(json, "docker.io", "test").own, "hub");
  EXPECT_EQ(FindHelpersIn(json, "other.example", "test").own, "");
  EXPECT_EQ(FindHelpersIn(json, "other.example", "test").any, "all");
  for (const std::string name : {"../x", "a/b", "x y"}) {
    const std::string text = R"({"credsStore":")" + name + "\"}";
    EXPECT_EQ(CaughtError([&] { FindHelpersIn(text, "r", "test"); }).kind(), ErrorKind::kCorrupt) << name;
  }
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
  EXPECT_EQ(AuthFiles(),
            (std::vector<std::string>{"/run/containers/" + std::to_string(geteuid()) + "/auth.json",
                                      "/h/.config/containers/auth.json", "/h/.docker/config.json", "/h/.dockercfg"}));
  setenv("XDG_RUNTIME_DIR", "/r", 1);
  setenv("XDG_CONFIG_HOME", "/c", 1);
  setenv("DOCKER_CONFIG", "/d", 1);
  EXPECT_EQ(AuthFiles(), (std::vector<std::string>{"/r/containers/auth.json", "/c/containers/auth.json",
                                                   "/d/config.json", "/h/.dockercfg"}));
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

// A helper that knows r.example and keeps what it is told in a file beside it.
class AuthHelper : public AuthPlaces {
 protected:
  void SetUp() override {
    AuthPlaces::SetUp();
    path_ = std::getenv("PATH");
    Script(
        "case $1 in get) [ \"$(cat)\" = r.example ] || { echo credentials not found in native keychain; exit 1; };"
        " echo '{\"ServerURL\":\"r.example\",\"Username\":\"u\",\"Secret\":\"p\"}' ;; *) cat >\"$0.$1\" ;; esac");
    setenv("PATH", (temp_.path() + ":" + path_).c_str(), 1);
    setenv("REGISTRY_AUTH_FILE", file_.c_str(), 1);
  }
  void TearDown() override {
    setenv("PATH", path_.c_str(), 1);
    AuthPlaces::TearDown();
  }
  void Script(const std::string& body) {
    temp_.dir().WriteFileAtomically(RelPath::Parse("docker-credential-test"), "#!/bin/sh\n" + body + "\n", 0755);
  }
  void Write(const std::string& json) { temp_.dir().WriteFileAtomically(RelPath::Parse("auth.json"), json); }
  std::string Read(const std::string& name) { return temp_.dir().ReadFile(RelPath::Parse(name), 100'000); }
  static std::optional<Credentials> Ask(const std::string& name) {
    return FindCredentials(DockerReference::Parse(name));
  }

  std::string path_;
  testing::TempDir temp_;
  std::string file_ = temp_.path() + "/auth.json";
};

TEST_F(AuthHelper, IsAskedForItsRegistry) {
  Write(R"({"auths":{"r.example":{}},"credHelpers":{"r.example":"test"}})");
  EXPECT_EQ(Ask("r.example/a"), (Credentials{"u", "p"}));
  Write(R"({"credsStore":"test","auths":{"s.example":{"auth":")" + EncodeBase64("s:1") + R"("}}})");
  EXPECT_EQ(Ask("r.example/a"), (Credentials{"u", "p"}));
  EXPECT_EQ(Ask("s.example/a"), (Credentials{"s", "1"}));
  EXPECT_EQ(Ask("t.example/a"), std::nullopt);
}

TEST_F(AuthHelper, MayHaveAnIdentityToken) {
  Script("echo '{\"Username\":\"<token>\",\"Secret\":\"t0k\"}'");
  Write(R"({"credsStore":"test"})");
  EXPECT_EQ(Ask("r.example/a"), (Credentials{"<token>", "", "t0k"}));
}

TEST_F(AuthHelper, FailsWithoutAWordOfWhatItSaid) {
  Script("echo secretive; exit 3");
  Write(R"({"credsStore":"test"})");
  const Error error = CaughtError([] { Ask("r.example/a"); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_EQ((error.message() + error.hint()).find("secretive"), std::string::npos) << error.message();
  Write(R"({"credsStore":"absent"})");
  EXPECT_NE(CaughtError([] { Ask("r.example/a"); }).message().find("docker-credential-absent"), std::string::npos);
}

TEST_F(AuthHelper, KeepsWhatLoginStores) {
  Write(R"({"credsStore":"test"})");
  StoreCredentials(file_, "r.example", {"u", "secretive"});
  EXPECT_EQ(Read("docker-credential-test.store"), R"({"ServerURL":"r.example","Username":"u","Secret":"secretive"})");
  EXPECT_EQ(Read("auth.json").find("secretive"), std::string::npos);
  EXPECT_TRUE(RemoveCredentials(file_, "r.example"));
  EXPECT_EQ(Read("docker-credential-test.erase"), "r.example");
}

TEST(StoredCredentials, AreForTheirOwnerAndLeaveAllElse) {
  const testing::TempDir temp;
  const std::string file = temp.path() + "/new/auth.json";
  StoreCredentials(file, "r.example", {"u", "p:1"});
  EXPECT_EQ(FindCredentialsIn(ReadFile(file, 10'000), DockerReference::Parse("r.example/x"), "test"),
            (Credentials{"u", "p:1"}));
  EXPECT_EQ(temp.dir().Stat(RelPath::Parse("new/auth.json"))->st_mode & 0777, 0600u);
  temp.dir().WriteFileAtomically(RelPath::Parse("new/auth.json"),
                                 R"({"HttpHeaders":{"a":"b"},"auths":{"s.example":{"auth":"eDp5","more":[1]}}})", 0644);
  StoreCredentials(file, "r.example/team", {"u", "p"});
  const std::string text = ReadFile(file, 10'000);
  EXPECT_NE(text.find("HttpHeaders"), std::string::npos);
  EXPECT_NE(text.find("more"), std::string::npos);
  EXPECT_EQ(temp.dir().Stat(RelPath::Parse("new/auth.json"))->st_mode & 0777, 0600u);
  EXPECT_TRUE(RemoveCredentials(file, "r.example/team"));
  EXPECT_FALSE(RemoveCredentials(file, "r.example/team"));
  EXPECT_NE(ReadFile(file, 10'000).find("s.example"), std::string::npos);
  EXPECT_FALSE(RemoveCredentials(temp.path() + "/absent.json", "r.example"));
}

TEST(StoredCredentials, DoNotReplaceAFileThatIsNoJson) {
  const testing::TempDir temp;
  temp.dir().WriteFileAtomically(RelPath::Parse("auth.json"), "{");
  const std::string file = temp.path() + "/auth.json";
  EXPECT_EQ(CaughtError([&] { StoreCredentials(file, "r.example", {"u", "p"}); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReadFile(file, 10), "{");
}

class Tokens : public ::testing::Test {
 protected:
  static void Pull(const testing::RegistryServer& server, std::optional<Credentials> credentials) {
    HttpOptions options;
    options.max_tries = 2;
    options.first_pause = std::chrono::milliseconds(1);
    HttpClient http(options);
    const DockerReference name = DockerReference::Parse(server.host() + "/app:v1");
    RegistryClient(http, name, std::move(credentials)).GetManifest(name);
  }
};

TEST_F(Tokens, ComeByPostForAnIdentityToken) {
  testing::RegistryServer server({.identity_token = "refresh me"});
  server.PutManifest("app", "v1", std::string(kOciManifestType), "{}");
  Pull(server, Credentials{"<token>", "", "refresh me"});
  const auto requests = server.requests();
  const auto token = std::find_if(requests.begin(), requests.end(),
                                  [](const testing::SeenRequest& r) { return r.target.starts_with("/token"); });
  ASSERT_NE(token, requests.end());
  EXPECT_EQ(token->method, "POST");
  EXPECT_EQ(token->Header("authorization"), "");
  EXPECT_EQ(token->Header("content-type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(token->body,
            "grant_type=refresh_token&refresh_token=refresh%20me&service=test&client_id=gantry&scope=repository%3Aapp%"
            "3Apull");
  const Error error = CaughtError([&] { Pull(server, Credentials{"<token>", "", "another"}); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_EQ(error.message().find("another"), std::string::npos);
}

TEST_F(Tokens, ComeByPostWhereGetIsNotKnown) {
  testing::RegistryServer server({.user = "u", .password = "p"});
  server.Script("GET /token status 405\nPOST /token status 401\n");
  EXPECT_EQ(CaughtError([&] { Pull(server, Credentials{"u", "p"}); }).kind(), ErrorKind::kFailed);
  EXPECT_EQ(server.Count("POST", "/token"), 1u);
}

TEST_F(Tokens, OfSeveralScopesAreAskedForInOneParameterByPost) {
  HttpOptions options;
  HttpClient http(options);
  testing::RegistryServer server({.identity_token = "t"});
  Authorizer authorizer("r", {"repository:a:pull,push"}, Credentials{"<token>", "", "t"});
  const HttpResponse refused = http.Send({.url = *Url::Parse(server.Url("/v2/")), .max_body_bytes = 1000});
  EXPECT_TRUE(authorizer.Retry(*Url::Parse(server.Url("/v2/")), refused, ""));
  authorizer.SetScope("repository:b:pull", true);
  EXPECT_EQ(authorizer.Header(http), "Bearer token-1");
  EXPECT_NE(server.requests().back().body.find("scope=repository%3Ab%3Apull%20repository%3Aa%3Apull%2Cpush"),
            std::string::npos);
  // Another thread had the older token refused meanwhile: the new one is what it needs.
  EXPECT_TRUE(authorizer.Retry(*Url::Parse(server.Url("/v2/")), refused, "Bearer old"));
  EXPECT_EQ(authorizer.Header(http), "Bearer token-1");
}

}  // namespace
}  // namespace gantry::image
