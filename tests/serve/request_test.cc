#include "serve/request.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace gantry::serve {
namespace {

using ::gantry::testing::CaughtError;

std::string Found(const Upstreams& upstreams, const std::string& name, const std::string& reference) {
  const auto found = upstreams.Find(name, reference);
  return found ? found->ToString() : "";
}

TEST(Form, HasOneSpellingWhateverTheOrderOfTheWords) {
  EXPECT_EQ(Form::Parse("squashed-zstd-oci")->ToString(), "oci-zstd-squashed");
  EXPECT_EQ(Form::Parse("docker")->manifest, "docker");
  for (const char* bad : {"", "oci-docker", "gzip-zstd", "squashed-squashed", "xz", "oci-", "-oci"})
    EXPECT_FALSE(Form::Parse(bad)) << bad;
}

TEST(FormedName, TakesWhatIsBehindTheLastMarkWhenItIsAForm) {
  EXPECT_EQ(FormedName::Parse("a/box--zstd").name, "a/box");
  EXPECT_EQ(FormedName::Parse("a/box--old--gzip-docker").ToString(), "a/box--old--docker-gzip");
  for (const char* plain : {"a/box", "a/box--old", "--zstd", "box--"}) {
    EXPECT_EQ(FormedName::Parse(plain).name, plain);
    EXPECT_TRUE(FormedName::Parse(plain).form.as_upstream()) << plain;
  }
}

TEST(Upstreams, TheLongestPrefixTakesAName) {
  Upstreams upstreams;
  upstreams.Add("docker://registry.test:5000/base");
  upstreams.Add("hub=docker://docker.io");
  upstreams.Add("hub/own=docker://own.test");
  EXPECT_EQ(Found(upstreams, "a/box", "v1"), "registry.test:5000/base/a/box:v1");
  EXPECT_EQ(Found(upstreams, "hub/alpine", "3"), "docker.io/library/alpine:3");
  EXPECT_EQ(Found(upstreams, "hub/grafana/loki", "3"), "docker.io/grafana/loki:3");
  EXPECT_EQ(Found(upstreams, "hub/own/x", "3"), "own.test/x:3");
  EXPECT_EQ(Found(upstreams, "hubble", "3"), "registry.test:5000/base/hubble:3");
  const std::string digest = Digest::Of("x").str();
  EXPECT_EQ(Found(upstreams, "a/box", digest), "registry.test:5000/base/a/box@" + digest);
}

TEST(Upstreams, FindsNothingForWhatIsNoName) {
  Upstreams upstreams;
  upstreams.Add("docker://docker.io");
  for (const char* bad : {"", "/", "a//b", "../a", "a/..", "A", "evil.test:80/x", "a:b", "a@b", "a b", "a/"})
    EXPECT_EQ(Found(upstreams, bad, "v1"), "") << bad;
  for (const char* bad : {"", "a/b", "a:b", "sha256:12", "-x", "a b", "v1@x"})
    EXPECT_EQ(Found(upstreams, "a/b", bad), "") << bad;
  // What looks like a host is a part of the path, and goes nowhere else.
  EXPECT_EQ(Found(upstreams, "evil.test/x", "v1"), "docker.io/evil.test/x:v1");
}

TEST(Upstreams, RefusesWhatIsNone) {
  for (const char* bad : {"registry.test", "docker://", "docker://a.test/x:tag", "=docker://a.test",
                          "A=docker://a.test", "oci:x", "docker://a.test/UPPER"}) {
    Upstreams upstreams;
    EXPECT_EQ(CaughtError([&] { upstreams.Add(bad); }).kind(), ErrorKind::kUsage) << bad;
  }
  Upstreams upstreams;
  upstreams.Add("docker://a.test");
  EXPECT_EQ(CaughtError([&] { upstreams.Add("docker://b.test"); }).kind(), ErrorKind::kUsage);
}

TEST(AciRequest, KnowsNameVersionAndMachine) {
  const auto got = AciRequest::Parse("/images.test/org/my-box-1.0-rc1-linux-aarch64.aci", "images.test", "1.0-rc1");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->name, "images.test/org/my-box");
  EXPECT_EQ(got->repository, "org/my-box");
  EXPECT_EQ(got->version, "1.0-rc1");
  EXPECT_EQ(got->platform.ToString(), "linux/arm64");
  EXPECT_FALSE(got->signature);
}

TEST(AciRequest, WithoutTheVersionTakesWhatIsBetweenTheLastHyphens) {
  const auto got = AciRequest::Parse("/org/my-box-1.0-linux-amd64.aci.asc", "images.test", std::nullopt);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->name, "images.test/org/my-box");
  EXPECT_EQ(got->version, "1.0");
  EXPECT_TRUE(got->signature);
}

TEST(AciRequest, IsNoneForWhatIsNoSuchPath) {
  for (const char* bad : {"/x-1-linux-amd64", "/x-1-linux-vax.aci", "/x-1-plan9-amd64.aci", "/-1-linux-amd64.aci",
                          "/x-linux-amd64.aci", "x-1-linux-amd64.aci", "/../x-1-linux-amd64.aci", "/.aci",
                          "/X-1-linux-amd64.aci", "/x--1-linux-amd64.aci\n", "/a b-1-linux-amd64.aci"})
    EXPECT_FALSE(AciRequest::Parse(bad, "images.test", std::nullopt)) << bad;
  EXPECT_FALSE(AciRequest::Parse("/x-1-linux-amd64.aci", "images.test", "2"));
}

TEST(RegistryRequest, TellsTheEndpointsApart) {
  using Kind = RegistryRequest::Kind;
  const std::string digest = Digest::Of("x").str();
  EXPECT_EQ(RegistryRequest::Parse("/v2/")->kind, Kind::kPing);
  EXPECT_EQ(RegistryRequest::Parse("/v2/a/manifests/manifests/v1")->name, "a/manifests");
  EXPECT_EQ(RegistryRequest::Parse("/v2/a/blobs/" + digest)->kind, Kind::kBlob);
  EXPECT_EQ(RegistryRequest::Parse("/v2/a/tags/list")->kind, Kind::kTags);
  EXPECT_EQ(RegistryRequest::Parse("/v2/a/referrers/" + digest)->kind, Kind::kReferrers);
  for (const char* bad : {"/v1/", "/v2/a", "/v2/manifests/v1", "/v2/a/blobs/v1", "/v2/a/referrers/v1", "/v2//tags/list",
                          "/v2/a/manifests/", "/v2/a/manifests/a/b", "/v2/a/uploads/x", "/v2/A/manifests/v1"})
    EXPECT_FALSE(RegistryRequest::Parse(bad)) << bad;
}

}  // namespace
}  // namespace gantry::serve
