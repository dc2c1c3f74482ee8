#include "runner/net/cni.h"

#include <gtest/gtest.h>

#include "runner/net/pasta.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;

AttachedNetwork Result(const std::string& text) {
  const json::Value value = json::Parse(text, "result");
  return ParseCniResult(value);
}

TEST(CniNetwork, IsAListOrOnePlugin) {
  const CniNetwork one = ParseCniNetwork(R"({"name":"a","cniVersion":"0.4.0","type":"bridge","x":1.5})", "conf");
  EXPECT_EQ(one.name, "a");
  ASSERT_EQ(one.plugins.size(), 1U);
  const CniNetwork list = ParseCniNetwork(R"({"name":"b","plugins":[{"type":"ptp"},{"type":"portmap"}]})", "conflist");
  EXPECT_EQ(list.version, "0.2.0");
  ASSERT_EQ(list.plugins.size(), 2U);
  EXPECT_EQ(*list.plugins[1].Find("type")->string(), "portmap");
}

TEST(CniNetwork, IsRefusedWhenItNamesNoPlugin) {
  for (const char* text :
       {"", "[]", "{}", R"({"name":"a"})", R"({"name":"a","plugins":[]})", R"({"name":"a","type":"../x"})",
        R"({"name":"a","type":""})", R"({"name":"a","type":".x"})", R"({"name":"a b","type":"x"})",
        R"({"name":"a","plugins":[{"type":"x"},7]})", R"({"name":"a","type":"x","type":"y"})"})
    EXPECT_EQ(CaughtError([&] { ParseCniNetwork(text, "conf"); }).kind(), ErrorKind::kCorrupt) << text;
}

TEST(CniResult, OfAnyVersion) {
  const AttachedNetwork now = Result(
      R"({"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/16","gateway":"10.1.0.1"},{"address":"fd00::2/64"}],
          "dns":{"nameservers":["10.1.0.1"],"domain":"d.example","options":["ndots:1"]}})");
  EXPECT_EQ(now.addresses, (std::vector<std::string>{"10.1.0.2/16", "fd00::2/64"}));
  EXPECT_EQ(now.gateway, "10.1.0.1");
  EXPECT_TRUE(now.ipv6);
  EXPECT_EQ(now.resolver, (Resolver{{"10.1.0.1"}, {"d.example"}, {"ndots:1"}}));
  const AttachedNetwork old = Result(R"({"cniVersion":"0.2.0","ip4":{"ip":"10.2.0.2/24","gateway":"10.2.0.1"}})");
  EXPECT_EQ(old.addresses, (std::vector<std::string>{"10.2.0.2/24"}));
  EXPECT_EQ(old.gateway, "10.2.0.1");
}

TEST(CniResult, IsRefusedWhenItSaysWhatNoFileCouldHold) {
  for (const char* text : {R"([])", R"({"ips":[{"address":"x"}]})", R"({"ips":[{}]})", R"({"ips":{}})",
                           R"({"ips":[{"address":"10.0.0.1/8","gateway":"x"}]})",
                           R"({"dns":{"nameservers":["1.1.1.1\nnameserver 2.2.2.2"]}})",
                           R"({"dns":{"search":["a b"]}})", R"({"dns":{"options":["x\ty"]}})"})
    EXPECT_EQ(CaughtError([&] { Result(text); }).kind(), ErrorKind::kCorrupt) << text;
}

TEST(CniAttachment, TellsPortsToThePluginsThatCanPublish) {
  const auto network = [] {
    return ParseCniNetwork(
        R"({"name":"a","plugins":[{"type":"x"},{"type":"portmap","capabilities":{"portMappings":true}}]})", "conf");
  };
  bool published = false;
  const CniAttachment out = PlanCni(network(), "eth0", {{0x0A000001, 80, 81, true}}, published);
  EXPECT_TRUE(published);
  EXPECT_EQ(out.network.plugins[0].Find("runtimeConfig"), nullptr);
  EXPECT_EQ(json::Print(*out.network.plugins[1].Find("runtimeConfig")),
            R"({"portMappings":[{"hostPort":80,"containerPort":81,"protocol":"udp","hostIP":"10.0.0.1"}]})");
  PlanCni(ParseCniNetwork(R"({"name":"a","type":"x"})", "conf"), "eth0", {{0, 1, 1, false}}, published);
  EXPECT_FALSE(published);
  const json::Value printed(out.Print());
  const CniAttachment again = CniAttachment::Parse(json::Cursor(printed, "attachment"));
  EXPECT_EQ(json::Value(again.Print()), printed);
}

TEST(Pasta, IsToldOfPortsAndOfNothingElseOfTheHost) {
  const NetworkRequest request{.ports = {{0, 8080, 80, false}, {0x7F000001, 8081, 81, false}, {0, 53, 53, true}}};
  EXPECT_EQ(PastaArguments("pasta", 7, request, "f"),
            (std::vector<std::string>{"pasta", "--foreground", "--quiet", "--config-net", "--no-map-gw", "-t",
                                      "8080:80", "-t", "127.0.0.1/8081:81", "-u", "53:53", "-T", "none", "-U", "none",
                                      "--pid", "f", "7"}));
  const std::vector<std::string> none = PastaArguments("pasta", 7, {}, "f");
  EXPECT_EQ(std::vector<std::string>(none.begin() + 5, none.begin() + 9),
            (std::vector<std::string>{"-t", "none", "-u", "none"}));
}

TEST(Pasta, AddressesAreReadWithoutLoopback) {
  EXPECT_EQ(AddressesOfTrie("Main:\n  +-- 0.0.0.0/0 2 0 2\n     |-- 10.77.0.0\n        /24 link UNICAST\n     |-- "
                            "10.77.0.1\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n   "
                            "  |-- 10.77.0.1\n        /32 host LOCAL\n     |-- x\n        /32 host LOCAL\n"),
            (std::vector<std::string>{"10.77.0.1"}));
  EXPECT_EQ(AddressesOfInet6("fd000000000000000000000000000002 02 40 00 80     eth0\n"
                             "fe80000000000000681aedfffe520823 02 40 20 80     eth0\n"
                             "00000000000000000000000000000001 01 80 10 80       lo\nzz\n"),
            (std::vector<std::string>{"fd00::2"}));
}

}  // namespace
}  // namespace gantry::runner
