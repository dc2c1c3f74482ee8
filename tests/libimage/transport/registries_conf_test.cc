#include "libimage/transport/registries_conf.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;

const std::string kHex(64, 'a');

RegistriesConf Conf(std::string_view text) {
  RegistriesConf conf;
  conf.Add(text, "test.conf");
  return conf;
}

std::string Sources(const RegistriesConf& conf, const std::string& name) {
  std::string out;
  for (const PullSource& source : conf.SourcesOf(DockerReference::Parse(name)))
    out += (out.empty() ? "" : " ") + source.name.ToString() + (source.insecure ? "!" : "");
  return out;
}

std::string Candidates(const RegistriesConf& conf, const std::string& name) {
  std::string out;
  for (const DockerReference& one : conf.Resolve(name)) out += (out.empty() ? "" : " ") + one.ToString();
  return out;
}

// The example of the manual.
constexpr std::string_view kManual = R"(
unqualified-search-registries = ["example.com"]
[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"
[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true
[[registry]]
location = "registry.com"
[[registry.mirror]]
location = "mirror.registry.com"
)";

TEST(RegistriesConf, AsksMirrorsFirstAndThenTheLocation) {
  const RegistriesConf conf = Conf(kManual);
  EXPECT_EQ(Sources(conf, "example.com/foo/image:latest"),
            "example-mirror-0.local/mirror-for-foo/image:latest example-mirror-1.local/mirrors/foo/image:latest! "
            "internal-registry-for-example.com/bar/image:latest");
  EXPECT_EQ(Sources(conf, "registry.com/image:latest"), "mirror.registry.com/image:latest registry.com/image:latest");
  EXPECT_EQ(Sources(conf, "example.com/other:1"), "example.com/other:1");
}

TEST(RegistriesConf, PrefixesEndWhereAPartOfTheNameEnds) {
  const RegistriesConf conf = Conf(R"(
[[registry]]
prefix = "a.example/x"
location = "b.example/y"
[[registry]]
prefix = "a.example/x/deep"
location = "c.example"
[[registry]]
prefix = "a.example/x/img:v1"
location = "d.example/only:v2"
[[registry]]
prefix = "h.example"
location = "i.example"
)");
  EXPECT_EQ(Sources(conf, "a.example/x/img:v2"), "b.example/y/img:v2");
  EXPECT_EQ(Sources(conf, "a.example/x:v2"), "b.example/y:v2");
  EXPECT_EQ(Sources(conf, "a.example/x/deep/img"), "c.example/img");
  EXPECT_EQ(Sources(conf, "a.example/xy/img"), "a.example/xy/img");
  EXPECT_EQ(Sources(conf, "a.example/x/img:v1"), "d.example/only:v2");
  EXPECT_EQ(Sources(conf, "a.example/x/img:v11"), "b.example/y/img:v11");
  // Another port is another registry.
  EXPECT_EQ(Sources(conf, "h.example:5000/a"), "h.example:5000/a");
  EXPECT_EQ(Sources(conf, "h.example/a@sha256:" + kHex), "i.example/a@sha256:" + kHex);
}

TEST(RegistriesConf, WildcardsStandForHostsBelowOne) {
  const RegistriesConf conf = Conf(R"(
[[registry]]
prefix = "*.example.com"
insecure = true
[[registry]]
prefix = "*.eu.example.com"
location = "eu.mirror"
[[registry]]
prefix = "*.blocked.example"
blocked = true
)");
  EXPECT_EQ(Sources(conf, "a.b.example.com/x"), "a.b.example.com/x!");
  EXPECT_EQ(Sources(conf, "a.eu.example.com/x:1"), "eu.mirror/x:1");
  EXPECT_EQ(Sources(conf, "example.com/x"), "example.com/x");
  EXPECT_EQ(Sources(conf, "notexample.com/x"), "notexample.com/x");
  EXPECT_EQ(Sources(conf, "other.org/a.example.com/x"), "other.org/a.example.com/x");
  EXPECT_EQ(CaughtError([&] { Sources(conf, "q.blocked.example/x"); }).kind(), ErrorKind::kRefused);
}

TEST(RegistriesConf, MirrorsAreForTagsOrDigests) {
  const RegistriesConf conf = Conf(R"(
[[registry]]
location = "r.example"
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "all.example"
pull-from-mirror = "all"
[[registry]]
location = "d.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.example"
)");
  EXPECT_EQ(Sources(conf, "r.example/a:1"), "tags.example/a:1 all.example/a:1 r.example/a:1");
  const std::string digest = "@sha256:" + kHex;
  EXPECT_EQ(Sources(conf, "r.example/a" + digest),
            "digests.example/a" + digest + " all.example/a" + digest + " r.example/a" + digest);
  EXPECT_EQ(Sources(conf, "d.example/a:1"), "d.example/a:1");
  EXPECT_EQ(Sources(conf, "d.example/a" + digest), "m.example/a" + digest + " d.example/a" + digest);
}

TEST(RegistriesConf, BlocksAndAllowsInsecurePlacesForAllThatIsDone) {
  const RegistriesConf conf = Conf(
      "[[registry]]\nlocation='bad.example'\nblocked=true\n[[registry]]\nlocation="
      "'plain.example:5000'\ninsecure=true\n");
  EXPECT_EQ(CaughtError([&] { conf.IsInsecure(DockerReference::Parse("bad.example/x/y")); }).kind(),
            ErrorKind::kRefused);
  EXPECT_TRUE(conf.IsInsecure(DockerReference::Parse("plain.example:5000/x")));
  EXPECT_FALSE(conf.IsInsecure(DockerReference::Parse("plain.example/x")));
}

TEST(RegistriesConf, ShortNamesAreAliasesOrSearchedFor) {
  RegistriesConf conf = Conf(
      "unqualified-search-registries = ['a.example', 'b.example:5000']\n[aliases]\n"
      "'box' = 'quay.io/org/box'\n'team/app' = 'c.example/app'\n");
  EXPECT_EQ(Candidates(conf, "box"), "quay.io/org/box");
  EXPECT_EQ(Candidates(conf, "box:v1@sha256:" + kHex), "quay.io/org/box:v1@sha256:" + kHex);
  EXPECT_EQ(Candidates(conf, "team/app:2"), "c.example/app:2");
  EXPECT_EQ(Candidates(conf, "tool:3"), "a.example/tool:3 b.example:5000/tool:3");
  EXPECT_EQ(Candidates(conf, "localhost/tool"), "localhost/tool");
  EXPECT_EQ(Candidates(conf, "r.example/box"), "r.example/box");
  EXPECT_EQ(Candidates(RegistriesConf(), "box"), "docker.io/library/box");
  conf.Add("short-name-mode = 'enforcing'\n[aliases]\n'box' = ''\n", "over.conf");
  const Error error = CaughtError([&] { Candidates(conf, "box:v1"); });
  EXPECT_EQ(error.kind(), ErrorKind::kUsage);
  EXPECT_NE(error.hint().find("a.example/box:v1, b.example:5000/box:v1"), std::string::npos) << error.hint();
  conf.Add("unqualified-search-registries = ['one.example']\n", "over.conf");
  EXPECT_EQ(Candidates(conf, "box"), "one.example/box");
}

TEST(RegistriesConf, LaterFilesReplaceEntriesWhole) {
  RegistriesConf conf = Conf(kManual);
  conf.Add("[[registry]]\nlocation = 'registry.com'\ninsecure = true\n", "over.conf");
  EXPECT_EQ(Sources(conf, "registry.com/a"), "registry.com/a!");
  EXPECT_EQ(Candidates(conf, "x"), "example.com/x");
}

TEST(RegistriesConf, ReadsVersion1) {
  const RegistriesConf conf = Conf(R"(
[registries.search]
registries = ['registry1.com', 'registry2.com']
[registries.insecure]
registries = ['registry3.com']
[registries.block]
registries = ['registry.untrusted.com', 'registry3.com/bad']
)");
  EXPECT_EQ(Candidates(conf, "x"), "registry1.com/x registry2.com/x");
  EXPECT_EQ(Sources(conf, "registry3.com/x"), "registry3.com/x!");
  EXPECT_EQ(CaughtError([&] { Sources(conf, "registry.untrusted.com/x"); }).kind(), ErrorKind::kRefused);
  EXPECT_EQ(CaughtError([&] { Sources(conf, "registry3.com/bad/x"); }).kind(), ErrorKind::kRefused);
}

TEST(RegistriesConf, RefusesWhatCannotBeMeant) {
  const std::string tag_only =
      "[[registry]]\nlocation = 'a.example'\nmirror-by-digest-only = true\n"
      "[[registry.mirror]]\nlocation = 'm.example'\npull-from-mirror = 'tag-only'\n";
  for (const char* bad : {
           "[[registry]]\n",
           "[[registry]]\nprefix = 'a.example'\n",
           "[[registry]]\nlocation = 'https://a.example'\n",
           "[[registry]]\nlocation = 'a.example'\ninsecure = 'yes'\n",
           "[[registry]]\nprefix = '*.a.example/x'\n",
           "[[registry]]\nprefix = '*.a.example:5000'\n",
           "[[registry]]\nlocation = '*.a.example'\n",
           "[[registry]]\nlocation = 'a.example\\u0020b'\n",
           "[[registry]]\nlocation = \"a.example\\nb\"\n",
           "[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\n",
           "[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\nlocation = 'm'\npull-from-mirror = 'never'\n",
           tag_only.c_str(),
           "registry = 'a.example'\n",
           "[registries.search]\nregistries = ['a.example']\n[[registry]]\nlocation = 'a.example'\n",
           "short-name-mode = 'strict'\n",
           "unqualified-search-registries = 'a.example'\n",
           "[aliases]\n'a.example/x' = 'b.example/x'\n",
           "[aliases]\n'x:1' = 'b.example/x'\n",
           "[aliases]\n'x' = 'y'\n",
           "[aliases]\n'x' = 'b.example/x:1'\n",
       })
    EXPECT_EQ(CaughtError([&] { Conf(bad); }).kind(), ErrorKind::kCorrupt) << bad;
}

TEST(RegistriesConf, RefusesALocationThatMakesNoName) {
  for (const char* bad : {"mirror/x", "a.example/UPPER", "a.example/x:v1"}) {
    const RegistriesConf conf = Conf(std::string("[[registry]]\nprefix = 'r.example'\nlocation = '") + bad + "'\n");
    EXPECT_NE(CaughtError([&] { Sources(conf, "r.example/app:v2"); }).message(), "") << bad;
  }
}

// The files of users and of the system, below a directory of the test.
class Files : public ::testing::Test {
 protected:
  Files() {
    setenv("XDG_CONFIG_HOME", temp_.path().c_str(), 1);
    setenv("XDG_CACHE_HOME", temp_.path().c_str(), 1);
  }
  ~Files() override {
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("CONTAINERS_REGISTRIES_CONF");
  }
  void Write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = temp_.path() + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  testing::TempDir temp_;
};

TEST_F(Files, AreReadInOrder) {
  Write("containers/registries.conf", "[[registry]]\nlocation = 'a.example'\ninsecure = true\n");
  Write("containers/registries.conf.d/20-b.conf", "[[registry]]\nlocation = 'a.example'\nblocked = true\n");
  Write("containers/registries.conf.d/10-a.conf",
        "[[registry]]\nlocation = 'a.example'\n[aliases]\nqqq='z.example/q'\n");
  Write("containers/registries.conf.d/30-no.txt", "broken");
  EXPECT_EQ(CaughtError([&] { Sources(RegistriesConf::Load(), "a.example/x"); }).kind(), ErrorKind::kRefused);
  EXPECT_EQ(Candidates(RegistriesConf::Load(), "qqq"), "z.example/q");
  Write("other.conf", "[[registry]]\nlocation = 'b.example'\ninsecure = true\n");
  setenv("CONTAINERS_REGISTRIES_CONF", (temp_.path() + "/other.conf").c_str(), 1);
  EXPECT_EQ(Sources(RegistriesConf::Load(), "b.example/x"), "b.example/x!");
  setenv("CONTAINERS_REGISTRIES_CONF", (temp_.path() + "/missing.conf").c_str(), 1);
  EXPECT_EQ(CaughtError([] { RegistriesConf::Load(); }).kind(), ErrorKind::kNotFound);
}

}  // namespace
}  // namespace gantry::image
