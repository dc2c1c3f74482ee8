#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/registry.h"
#include "tests/support/registry_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::RegistryServer;

std::vector<std::string> TagsOf(const RegistryServer& server) {
  HttpOptions options;
  options.max_tries = 2;
  options.first_pause = std::chrono::milliseconds(1);
  HttpClient http(options);
  return RegistryClient(http, DockerReference::Parse(server.host() + "/app"), std::nullopt).ListTags();
}

TEST(Tags, ComeInPages) {
  RegistryServer server({.page = 3});
  std::vector<std::string> wanted;
  for (char c = 'a'; c <= 'j'; ++c) {
    wanted.emplace_back(1, c);
    server.PutManifest("app", wanted.back(), std::string(kOciManifestType), "{}");
  }
  EXPECT_EQ(TagsOf(server), wanted);
  EXPECT_EQ(server.Count("GET", "/tags/list"), 4u);
}

TEST(Tags, MayBeNoneAtAll) {
  RegistryServer server;
  EXPECT_TRUE(TagsOf(server).empty());
  server.Script("GET /tags/ status 404\n");
  EXPECT_EQ(CaughtError([&] { TagsOf(server); }).kind(), ErrorKind::kNotFound);
}

TEST(Tags, AreAbsentOnlyWhereTheRegistrySaysSo) {
  const auto may_have_tags = [](RegistryServer& server) {
    HttpClient http({.max_tries = 1});
    return RegistryClient(http, DockerReference::Parse(server.host() + "/app"), std::nullopt).MayHaveTags();
  };
  RegistryServer server;
  EXPECT_FALSE(may_have_tags(server));
  server.Script("GET /tags/ status 404\n");
  EXPECT_FALSE(may_have_tags(server));
  for (const char* const answer : {"401", "403", "405", "500"}) {
    server.Script("GET /tags/ status " + std::string(answer) + "\n");
    EXPECT_TRUE(may_have_tags(server)) << answer;
  }
  server.PutManifest("app", "a", std::string(kOciManifestType), "{}");
  EXPECT_TRUE(may_have_tags(server));
}

TEST(Tags, OfAnotherHostAndNonsenseAreRefused) {
  RegistryServer server({.page = 1});
  server.PutManifest("app", "a", std::string(kOciManifestType), "{}");
  server.PutManifest("app", "b", std::string(kOciManifestType), "{}");
  server.Script("GET /tags/ set Link: <http://127.0.0.2:1/v2/app/tags/list>; rel=\"next\"\n");
  EXPECT_EQ(CaughtError([&] { TagsOf(server); }).kind(), ErrorKind::kNetwork);
  server.PutManifest("app", "-rf *", std::string(kOciManifestType), "{}");
  EXPECT_EQ(CaughtError([&] { TagsOf(server); }).kind(), ErrorKind::kCorrupt);
}

TEST(Links, LeadToTheNextPage) {
  EXPECT_EQ(NextPage("</v2/a/tags/list?n=1&last=x>; rel=\"next\""), "/v2/a/tags/list?n=1&last=x");
  EXPECT_EQ(NextPage("<a>; rel=\"prev\", <b>; rel=next"), "b");
  EXPECT_EQ(NextPage("<a>; REL=\"Next\"; title=\"x\""), "a");
  for (const char* none : {"", "<a", "a>; rel=next", "<a>; rel=\"prev\"", "<a>, <b>"})
    EXPECT_EQ(NextPage(none), std::nullopt) << none;
}

}  // namespace
}  // namespace gantry::image
