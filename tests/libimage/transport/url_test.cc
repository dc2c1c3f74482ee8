#include "libimage/transport/url.h"

#include <gtest/gtest.h>

#include "libimage/base/percent.h"

namespace gantry::image {
namespace {

TEST(Url, NormalisesSchemeHostAndPort) {
  const auto url = Url::Parse("HTTPS://Registry.Example:8443/v2/a%2Fb?x=1#part");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->https());
  EXPECT_EQ(url->host(), "registry.example");
  EXPECT_EQ(url->port(), 8443);
  EXPECT_EQ(url->Origin(), "https://registry.example:8443");
  EXPECT_EQ(url->str(), "https://registry.example:8443/v2/a%2Fb?x=1");
  EXPECT_EQ(url->Shown(), "https://registry.example:8443/v2/a%2Fb");
}

TEST(Url, KnowsDefaultPortsAndIpv6) {
  EXPECT_EQ(Url::Parse("https://a/")->Origin(), Url::Parse("https://a:443/x")->Origin());
  const auto url = Url::Parse("http://[::1]:5000/");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->host(), "::1");
  EXPECT_EQ(url->Origin(), "http://[::1]:5000");
}

TEST(Url, RefusesOtherSchemesUserInfoSpacesAndLength) {
  for (const std::string text :
       {"ftp://a/", "file:///etc/passwd", "gopher://a/", "a/b", "//a/b", "", "https://u@a/", "https://u:p@a/",
        "http://a b/", "http://a/\r\nX: y", "https:///x", "https://a:0/", "https://a:99999/"}) {
    EXPECT_FALSE(Url::Parse(text)) << text;
  }
  EXPECT_FALSE(Url::Parse("http://a/" + std::string(kMaxUrlBytes, 'a')));
}

TEST(Url, ResolvesReferences) {
  const auto base = *Url::Parse("https://a.example/v2/x/blobs/y?q=1");
  EXPECT_EQ(base.Resolve("/z")->str(), "https://a.example/z");
  EXPECT_EQ(base.Resolve("z?k=v")->str(), "https://a.example/v2/x/blobs/z?k=v");
  EXPECT_EQ(base.Resolve("//b.example/z")->str(), "https://b.example/z");
  EXPECT_EQ(base.Resolve("http://c.example/z")->str(), "http://c.example/z");
  EXPECT_FALSE(base.Resolve(""));
  EXPECT_FALSE(base.Resolve("file:///etc/passwd"));
  EXPECT_FALSE(base.Resolve("https://user@b.example/"));
}

TEST(Url, SpelledOutAddressesAreSeenThrough) {
  for (const char* text : {"http://2130706433/", "http://0x7f.1/", "http://127.1/", "http://0177.0.0.1/"}) {
    const auto url = Url::Parse(text);
    ASSERT_TRUE(url) << text;
    EXPECT_EQ(ZoneOfHost(url->host()), NetworkZone::kLoopback) << url->host();
  }
}

TEST(NetworkZone, OfAddresses) {
  const std::pair<const char*, std::optional<NetworkZone>> cases[] = {
      {"127.0.0.1", NetworkZone::kLoopback},
      {"127.9.9.9", NetworkZone::kLoopback},
      {"0.0.0.0", NetworkZone::kLoopback},
      {"::1", NetworkZone::kLoopback},
      {"::", NetworkZone::kLoopback},
      {"localhost", NetworkZone::kLoopback},
      {"LOCALHOST.", NetworkZone::kLoopback},
      {"a.localhost", NetworkZone::kLoopback},
      {"10.1.2.3", NetworkZone::kPrivate},
      {"172.16.0.1", NetworkZone::kPrivate},
      {"172.32.0.1", NetworkZone::kPublic},
      {"192.168.1.1", NetworkZone::kPrivate},
      {"100.64.0.1", NetworkZone::kPrivate},
      {"169.254.169.254", NetworkZone::kLinkLocal},
      {"fe80::1%eth0", NetworkZone::kLinkLocal},
      {"fd00::1", NetworkZone::kPrivate},
      {"::ffff:127.0.0.1", NetworkZone::kLoopback},
      {"64:ff9b::a00:1", NetworkZone::kPrivate},
      {"8.8.8.8", NetworkZone::kPublic},
      {"2001:db8::1", NetworkZone::kPublic},
      {"registry.example", std::nullopt},
      {"localhost.example", std::nullopt},
  };
  for (const auto& [host, zone] : cases) EXPECT_EQ(ZoneOfHost(host), zone) << host;
}

TEST(NetworkZone, ServersMayNotLeadInwards) {
  using enum NetworkZone;
  EXPECT_TRUE(MayLead(kPublic, kPublic));
  EXPECT_TRUE(MayLead(kLoopback, kPublic));
  EXPECT_TRUE(MayLead(kLoopback, kLoopback));
  EXPECT_TRUE(MayLead(kPrivate, kPrivate));
  EXPECT_FALSE(MayLead(kPublic, kLoopback));
  EXPECT_FALSE(MayLead(kPublic, kPrivate));
  EXPECT_FALSE(MayLead(kPublic, kLinkLocal));
  EXPECT_FALSE(MayLead(kPrivate, kLoopback));
  EXPECT_FALSE(MayLead(kLoopback, kLinkLocal));
}

TEST(PercentEncoded, KeepsOnlyUnreserved) {
  EXPECT_EQ(PercentEncoded("repository:a/b:pull"), "repository%3Aa%2Fb%3Apull");
  EXPECT_EQ(PercentEncoded("A-z0._~"), "A-z0._~");
  EXPECT_EQ(PercentEncoded("\xff \n"), "%FF%20%0A");
}

}  // namespace
}  // namespace gantry::image
