#include "runner/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/base64.h"
#include "libimage/base/digest.h"

namespace gantry::runner {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

PodMetadata Pod(const std::string& uuid = "11111111-2222-4333-8444-555555555555") {
  return {"token",
          std::string(kMetadataSecretBytes, 's'),
          uuid,
          R"({"acKind":"PodManifest"})",
          "[]",
          {{"web", "sha512-ab", R"({"acKind":"ImageManifest"})", R"([{"name":"a","value":"b"}])"},
           {"old", "sha256-cd", "", "[]"}}};
}

std::string Ask(const std::string& request) { return AnswerRequest(Pod(), request).value_or("more"); }
std::string Get(const std::string& path) {
  return Ask("GET /token/acMetadata/v1/" + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
}
std::string Post(const std::string& path, const std::string& body, const PodMetadata& pod = Pod()) {
  return AnswerRequest(pod, "POST /token/acMetadata/v1/" + path +
                                " HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n\r\n" + body)
      .value_or("more");
}
std::string Body(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

TEST(Metadata, TellsAboutPodAndApps) {
  EXPECT_EQ(Get("pod/uuid"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Length: 36\r\nConnection: "
            "close\r\n\r\n11111111-2222-4333-8444-555555555555");
  EXPECT_THAT(Get("pod/manifest"), HasSubstr("Content-Type: application/json"));
  EXPECT_EQ(Body(Get("pod/manifest")), R"({"acKind":"PodManifest"})");
  EXPECT_EQ(Body(Get("pod/annotations")), "[]");
  EXPECT_EQ(Body(Get("pod/annotations/")), "[]");
  EXPECT_EQ(Body(Get("apps/web/image/id")), "sha512-ab");
  EXPECT_EQ(Body(Get("apps/web/image/manifest")), R"({"acKind":"ImageManifest"})");
  EXPECT_EQ(Body(Get("apps/web/annotations")), R"([{"name":"a","value":"b"}])");
}

TEST(Metadata, WhatIsNotThereIsNotFound) {
  for (const char* path : {"pod", "pod/", "pod/x", "apps", "apps/", "apps/web", "apps/none/image/id", "apps/web/image",
                           "apps/old/image/manifest", "../pod/uuid", ""})
    EXPECT_THAT(Get(path), StartsWith("HTTP/1.1 404 ")) << path;
  EXPECT_THAT(Post("pod/uuid", ""), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Get("pod/hmac/sign"), StartsWith("HTTP/1.1 405 "));
}

TEST(Metadata, WithoutTheTokenNothingIsTold) {
  for (const char* path :
       {"/", "/acMetadata/v1/pod/uuid", "/toke/acMetadata/v1/pod/uuid", "/token2/acMetadata/v1/pod/uuid",
        "//acMetadata/v1/pod/uuid", "token/acMetadata/v1/pod/uuid"})
    EXPECT_THAT(Ask("GET " + std::string(path) + " HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 403 ")) << path;
  EXPECT_EQ(NewMetadataToken().size(), 32U);
  EXPECT_NE(NewMetadataToken(), NewMetadataToken());
}

TEST(Metadata, APodOfTheStoreVerifiesWhatAnotherHasSigned) {
  const std::string signature = Body(Post("pod/hmac/sign", "content=a+b%26c"));
  const std::string key = HmacSha512(std::string(kMetadataSecretBytes, 's'), kUuid);
  EXPECT_EQ(signature, EncodeBase64(HmacSha512(key, "a b&c")));
  const PodMetadata other = Pod("99999999-2222-4333-8444-555555555555");
  std::string escaped;
  for (const char c : signature) escaped += c == '+' ? "%2B" : std::string(1, c);
  const std::string form = "content=a%20b%26c&uuid=" + std::string(kUuid) + "&signature=" + escaped;
  EXPECT_THAT(Post("pod/hmac/verify", form, other), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Post("pod/hmac/verify", "content=x&uuid=" + std::string(kUuid) + "&signature=" + escaped, other),
              StartsWith("HTTP/1.1 403 "));
  // Nobody signs as another.
  EXPECT_THAT(Post("pod/hmac/verify", "content=a%20b%26c&uuid=" + other.uuid + "&signature=" + escaped),
              StartsWith("HTTP/1.1 403 "));
  for (const std::string& bad :
       {std::string("content=x"), "content=a&content=b&uuid=" + other.uuid, std::string("content=%zz"),
        std::string("content=%4"), "content=a&uuid=x&signature=" + escaped,
        "content=a&uuid=" + other.uuid + "&signature=!!"})
    EXPECT_THAT(Post("pod/hmac/verify", bad), StartsWith("HTTP/1.1 400 ")) << bad;
  EXPECT_THAT(Post("pod/hmac/sign", ""), StartsWith("HTTP/1.1 400 "));
}

TEST(Metadata, ARequestMayComeInPieces) {
  const std::string whole =
      "POST /token/acMetadata/v1/pod/hmac/sign HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded; "
      "charset=utf-8\r\nCONTENT-LENGTH:  9 \r\n\r\ncontent=a";
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(AnswerRequest(Pod(), std::string_view(whole).substr(0, size))) << size;
  EXPECT_THAT(Ask(whole), StartsWith("HTTP/1.1 200 "));
}

TEST(Metadata, HostileRequestsAreBounded) {
  const std::string line = "POST /token/acMetadata/v1/pod/hmac/sign HTTP/1.1\r\n";
  EXPECT_THAT(Ask(std::string(kMaxRequestHead, 'x')), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(Ask(line + "Content-Length: 262145\r\n\r\n"), StartsWith("HTTP/1.1 413 "));
  for (const char* head : {"Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: 1x",
                           "Content-Length: 1\r\nContent-Length: 1"})
    EXPECT_THAT(Ask(line + head + "\r\n\r\n"), StartsWith("HTTP/1.1 400 ")) << head;
  EXPECT_THAT(Ask(line + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), StartsWith("HTTP/1.1 501 "));
  EXPECT_THAT(Ask(line + "Content-Type: multipart/form-data\r\n\r\n"), StartsWith("HTTP/1.1 415 "));
  for (const char* bad : {"\r\n\r\n", "GET\r\n\r\n", "GET /token\r\n\r\n", "GET / HTTP/2\r\n\r\n"})
    EXPECT_THAT(Ask(bad), StartsWith("HTTP/1.1 400 "));
  std::string many = "content=a";
  for (int i = 0; i < 40; ++i) many += "&f" + std::to_string(i) + "=";
  EXPECT_THAT(Post("pod/hmac/sign", many), StartsWith("HTTP/1.1 400 "));
}

}  // namespace
}  // namespace gantry::runner
