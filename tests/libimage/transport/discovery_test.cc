#include "libimage/transport/discovery.h"

#include <gtest/gtest.h>

#include <string>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;

const std::string kTag = R"(<meta name="ac-discovery" content="example.com https://example.com/{name}.{ext}">)";

size_t CountIn(const std::string& html) { return DiscoveryPage::Parse(html).images.size(); }

AppcReference Parse(const std::string& text) { return *Reference::Parse("appc:" + text).appc(); }

// The page of the specification's example (appc spec 0.8.11, discovery.md), with another host.
TEST(DiscoveryPage, ReadsTheExampleOfTheSpecification) {
  const DiscoveryPage page = DiscoveryPage::Parse(
      "<!DOCTYPE html>\n<html>\n<head>\n<title>a < b</title>\n"
      R"(<meta name="ac-discovery" content="example.com https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}">)"
      "\n"
      R"(<meta name="ac-discovery-pubkeys" content="example.com https://example.com/pubkeys.gpg">)"
      "\n</head><body></body></html>");
  EXPECT_EQ(
      page.images,
      (std::vector<DiscoveryTag>{{"example.com", "https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}"}}));
  EXPECT_EQ(page.keys, (std::vector<DiscoveryTag>{{"example.com", "https://example.com/pubkeys.gpg"}}));
}

TEST(DiscoveryPage, TakesWhatBrowsersTake) {
  EXPECT_EQ(CountIn(kTag), 1U);
  EXPECT_EQ(CountIn("\xef\xbb\xbf<HTML><HEAD lang=en>" + kTag + kTag), 2U);
  EXPECT_EQ(CountIn("<META CONTENT='example.com\n\thttps://x/' NAME=ac-discovery />"), 1U);
  EXPECT_EQ(CountIn("<!-- <body> --><?pi?><script>if (a<b) '<body>'</script x>" + kTag), 1U);
  const DiscoveryPage page =
      DiscoveryPage::Parse(R"(<meta name=ac-discovery content="a.b https://x/?n={name}&amp;v={version}">)");
  EXPECT_EQ(page.images.at(0).value, "https://x/?n={name}&v={version}");
}

TEST(DiscoveryPage, LeavesTheBodyToItsAuthors) {
  EXPECT_EQ(CountIn("<head></head>" + kTag), 0U);
  EXPECT_EQ(CountIn("<head><body>" + kTag), 0U);
  EXPECT_EQ(CountIn("<head><p>hello" + kTag), 0U);
  EXPECT_EQ(CountIn("<head>hello" + kTag), 0U);
  EXPECT_EQ(CountIn("<!-- " + kTag + " -->"), 0U);
  EXPECT_EQ(CountIn("<!-- " + kTag), 0U);
  EXPECT_EQ(CountIn("<title>" + kTag + "</title>"), 0U);
  EXPECT_EQ(CountIn("<script>'" + kTag + "'</scripts>" + kTag), 0U);
  EXPECT_EQ(CountIn("<noscript>" + kTag), 0U);
  EXPECT_EQ(CountIn("<template><template></template>" + kTag), 0U);
  EXPECT_EQ(CountIn("<link title='" + kTag), 0U);
  EXPECT_EQ(CountIn("<link title='\">" + kTag + "'>"), 0U);
}

TEST(DiscoveryPage, PassesOverTagsOfAnotherForm) {
  for (const std::string content : {"", "example.com", "example.com https://x/ https://y/", "Example.com https://x/",
                                    "https://example.com https://x/", "/ https://x/"})
    EXPECT_EQ(CountIn("<meta name='ac-discovery' content='" + content + "'>"), 0U) << content;
  EXPECT_EQ(CountIn("<meta name='ac-discovery'>"), 0U);
  EXPECT_EQ(CountIn("<meta name='ac-discovery' name=x content='a.b https://x/'>"), 1U);
  EXPECT_EQ(CountIn("<meta name='x' name=ac-discovery content='a.b https://x/'>"), 0U);
}

TEST(DiscoveryPage, HasBounds) {
  std::string many;
  for (size_t i = 0; i < kMaxDiscoveryTags; ++i) many += "<meta>";
  EXPECT_NO_THROW(DiscoveryPage::Parse(many));
  EXPECT_EQ(CaughtError([&] { DiscoveryPage::Parse(many + "<meta>"); }).kind(), ErrorKind::kCorrupt);
  std::string wide = "<meta";
  for (size_t i = 0; i <= kMaxTagAttributes; ++i) wide += " a" + std::to_string(i);
  EXPECT_EQ(CaughtError([&] { DiscoveryPage::Parse(wide + ">"); }).kind(), ErrorKind::kCorrupt);
}

TEST(DiscoveryTag, IsAboutWholeComponents) {
  const DiscoveryTag tag{"example.com/foo", ""};
  EXPECT_TRUE(tag.IsFor("example.com/foo"));
  EXPECT_TRUE(tag.IsFor("example.com/foo/bar"));
  EXPECT_FALSE(tag.IsFor("example.com/foobar"));
  EXPECT_FALSE(tag.IsFor("example.com"));
  EXPECT_FALSE((DiscoveryTag{"example.com", ""}).IsFor("example.community/foo"));
}

TEST(Discovery, WalksUp) {
  EXPECT_EQ(DiscoveryNames("example.com/a/b"),
            (std::vector<std::string>{"example.com/a/b", "example.com/a", "example.com"}));
  std::string deep = "x";
  for (size_t i = 1; i < kMaxDiscoveryDepth; ++i) deep += "/x";
  EXPECT_EQ(DiscoveryNames(deep).size(), kMaxDiscoveryDepth);
  EXPECT_EQ(CaughtError([&] { DiscoveryNames(deep + "/x"); }).kind(), ErrorKind::kUnsupported);
}

TEST(Discovery, RendersTemplates) {
  const std::string address_template = "https://x/{name}-{version}-{os}-{arch}.{ext}";
  const AppcReference wanted = WithPlatform(Parse("example.com/app:1.0"), {.os = "linux", .architecture = "arm64"});
  EXPECT_EQ(Render(address_template, wanted, "aci"), "https://x/example.com/app-1.0-linux-aarch64.aci");
  EXPECT_EQ(Render(address_template, WithPlatform(Parse("a.b,os=freebsd,arch=amd64"), Platform::Host()), "aci.asc"),
            "https://x/a.b-latest-freebsd-amd64.aci.asc");
  EXPECT_EQ(Render("https://x/{channel}", wanted, "aci"), std::nullopt);
  EXPECT_EQ(Render("https://x/{name", wanted, "aci"), std::nullopt);
  EXPECT_EQ(Render("https://x/{channel}", Parse("a.b,channel=../{name}?#"), "aci"), "https://x/..%2F%7Bname%7D%3F%23");
}

TEST(Discovery, TakesNoOtherImageThanTheOneAskedFor) {
  const AppcReference wanted = Parse("a.b/c:1,os=linux,arch=amd64");
  const auto of = [](std::string name, std::vector<AppcPair> labels) {
    return AciManifest{.name = std::move(name), .labels = std::move(labels)};
  };
  EXPECT_NO_THROW(RequireSame(of("a.b/c", {{"version", "1"}, {"os", "linux"}, {"arch", "amd64"}, {"x", "y"}}), wanted));
  EXPECT_NO_THROW(RequireSame(of("a.b/c", {{"version", "1"}}), wanted));
  EXPECT_EQ(CaughtError([&] { RequireSame(of("a.b/cc", {{"version", "1"}}), wanted); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { RequireSame(of("a.b/c", {{"version", "2"}}), wanted); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { RequireSame(of("a.b/c", {}), wanted); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] {
              RequireSame(of("a.b/c", {{"version", "1"}, {"arch", "aarch64"}}), wanted);
            }).kind(),
            ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
