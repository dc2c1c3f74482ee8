#include "runner/net/network_request.h"

#include <gtest/gtest.h>

#include "runner/net/resolv_conf.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;

TEST(PublishedPort, ParsesAddressPortsAndProtocol) {
  EXPECT_EQ(PublishedPort::Parse("8080:80"), (std::vector<PublishedPort>{{0, 8080, 80, false}}));
  EXPECT_EQ(PublishedPort::Parse("127.0.0.1:53:5353/udp"), (std::vector<PublishedPort>{{0x7F000001, 53, 5353, true}}));
  EXPECT_EQ(PublishedPort::Parse("65534-65535:1-2/tcp"),
            (std::vector<PublishedPort>{{0, 65534, 1, false}, {0, 65535, 2, false}}));
}

TEST(PublishedPort, PrintsWhatItParses) {
  for (const std::string text : {"8080:80", "10.0.0.1:53:53/udp"}) {
    EXPECT_EQ(PublishedPort::Parse(text).front().ToString(), text);
  }
}

TEST(PublishedPort, RefusesWhatIsNone) {
  for (const char* text : {"",        "80",      ":",           "80:",           ":80",    "0:80",        "80:0",
                           "65536:1", "-1:1",    "1:2:3",       "::1:80:80",     "a:80",   "80:80/sctp",  "80:80/",
                           "1-2:1",   "2-1:2-1", "1-2-3:1-2-3", "1-2000:1-2000", "+80:80", "1.2.3:80:80", "80:80 "})
    EXPECT_EQ(CaughtError([&] { PublishedPort::Parse(text); }).kind(), ErrorKind::kUsage) << text;
}

TEST(NetworkRequest, RefusesAPortThatIsPublishedTwice) {
  NetworkRequest request;
  request.ports = {{0, 80, 1, false}, {0, 80, 1, true}, {0x7F000001, 81, 1, false}, {0x7F000002, 81, 1, false}};
  request.Check();
  request.ports.push_back({0x7F000001, 80, 2, false});
  EXPECT_EQ(CaughtError([&] { request.Check(); }).kind(), ErrorKind::kUsage);
}

TEST(ResolvConf, TakesWhatAResolverWouldAndNoMore) {
  const Resolver out = ParseResolvConf(
      "# nameserver 9.9.9.9\n; x\nnameserver 10.0.0.1\n nameserver\tfe80::1%eth0\nnameserver ::2 trailing\n"
      "domain a.example\nsearch  b.example\tc.example\r\noptions ndots:2 edns0\nnameserver no\noptions rotate");
  EXPECT_EQ(out.servers, (std::vector<std::string>{"10.0.0.1", "::2"}));
  EXPECT_EQ(out.searches, (std::vector<std::string>{"b.example", "c.example"}));
  EXPECT_EQ(out.options, (std::vector<std::string>{"ndots:2", "edns0", "rotate"}));
}

TEST(ResolvConf, IsReadAgainAsItWasWritten) {
  const Resolver some{{"10.0.0.1", "::1"}, {"a.example", "b"}, {"ndots:1"}};
  EXPECT_EQ(ParseResolvConf(PrintResolvConf(some)), some);
  EXPECT_EQ(PrintResolvConf({}), "");
}

// inet_pton(3) stops at a NUL byte.
TEST(ResolvConf, TakesNoAddressWithANulByte) {
  EXPECT_TRUE(ParseResolvConf(std::string_view("nameserver 10.0.0.1\0x\nnameserver ::1\0\n", 38)).servers.empty());
}

TEST(ResolvConf, IsBounded) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "nameserver 10.0.0.1\noptions a b\n";
  EXPECT_EQ(ParseResolvConf(text).servers.size(), kMaxResolverEntries);
  EXPECT_EQ(ParseResolvConf(text).options.size(), kMaxResolverEntries);
}

}  // namespace
}  // namespace gantry::runner
