#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/model/media_type.h"
#include "libimage/transport/registry.h"
#include "tests/support/registry_server.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using testing::Exchange;
using testing::HttpServer;
using testing::RegistryServer;
using testing::SeenRequest;

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

// Whether it may have tags, to who gets this answer to the question.
bool MayHaveTags(const HttpServer::Handler& answer) {
  const HttpServer server([&](const SeenRequest& request, Exchange& out) {
    if (request.target.find("/tags/list") != std::string::npos)
      return answer(request, out);
    out.Send(200, {}, "{}");
  });
  HttpClient http({.max_tries = 1});
  return RegistryClient(http, DockerReference::Parse(server.host() + "/app"), std::nullopt).MayHaveTags();
}

bool MayHaveTags(int status, const std::string& body, const std::vector<std::string>& headers = {}) {
  return MayHaveTags([&](const SeenRequest&, Exchange& out) { out.Send(status, headers, body); });
}

TEST(Tags, AreAbsentOnlyWhereTheRegistrySaysSo) {
  for (const char* const none : {R"({"name":"app","tags":[]})", R"({"tags":null})"})
    EXPECT_FALSE(MayHaveTags(200, none));
  EXPECT_FALSE(MayHaveTags(404, R"({"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]})"));
  EXPECT_TRUE(MayHaveTags(200, R"({"tags":["a"]})"));
  EXPECT_TRUE(MayHaveTags(200, R"({"tags":[]})", {"Link: </v2/app/tags/list?last=a>; rel=\"next\""}));
  for (const int status : {401, 403, 405, 500}) EXPECT_TRUE(MayHaveTags(status, R"({"tags":[]})")) << status;
}

TEST(Tags, MayBeThereWhereTheQuestionGoesWrong) {
  for (const char* const odd : {"", "<html>no list here</html>", "{}", "[]", R"({"tags":{}})", R"({"tags":["-rf *"]})"})
    EXPECT_TRUE(MayHaveTags(200, odd)) << odd;
  EXPECT_TRUE(MayHaveTags(200, R"({"tags":[],"x":")" + std::string(kMaxTagPageBytes, 'x') + R"("})"));
  for (const char* const odd : {"", "<html>not found</html>", "{}", R"({"errors":[{"code":"NOT_FOUND"}]})",
                                R"({"errors":[{}]})", R"({"errors":["NAME_UNKNOWN"]})"})
    EXPECT_TRUE(MayHaveTags(404, odd)) << odd;
  EXPECT_TRUE(MayHaveTags([](const SeenRequest&, Exchange& out) { out.Drop(); }));
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
