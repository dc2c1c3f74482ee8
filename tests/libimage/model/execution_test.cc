#include "libimage/model/execution.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Execution Of(const std::function<void(ImageConfig&)>& change) {
  ImageConfig config;
  change(config);
  return Execution::Of(config);
}

TEST(ExecutionTest, AnEmptyConfigurationHasDefaults) {
  const Execution execution = Execution::Of({});
  EXPECT_THAT(execution.args, IsEmpty());
  EXPECT_EQ(execution.cwd, "/");
  EXPECT_EQ(execution.user, "0:0");
  EXPECT_EQ(execution.stop_signal, 15);
}

TEST(ExecutionTest, ArgumentsAreEntrypointThenCmd) {
  EXPECT_THAT(Of([](ImageConfig& c) { c.entrypoint = {"a", "b"}, c.cmd = {"c"}; }).args, ElementsAre("a", "b", "c"));
}

TEST(ExecutionTest, TheLastValueOfAVariableStandsWhereItsNameCameFirst) {
  const auto env = [](std::vector<std::string> written) { return Of([&](ImageConfig& c) { c.env = written; }).env; };
  EXPECT_THAT(env({"B=1", "A=2", "B=3", "none", "=nameless", "C="}), ElementsAre("B=3", "A=2", "C="));
}

TEST(ExecutionTest, PathsAreCleanAndAbsolute) {
  EXPECT_EQ(CleanAbsolute(""), "/");
  EXPECT_EQ(CleanAbsolute("a"), "/a");
  EXPECT_EQ(CleanAbsolute("//a/./b/../c/"), "/a/c");
  EXPECT_EQ(CleanAbsolute("/../.."), "/");
  EXPECT_THAT(Of([](ImageConfig& c) { c.volumes = {"/z/", "/a", "/z"}; }).volumes, ElementsAre("/a", "/z"));
}

TEST(ExecutionTest, RootHasAGroup) {
  const auto user = [](const std::string& written) { return Of([&](ImageConfig& c) { c.user = written; }).user; };
  EXPECT_EQ(user("0"), "0:0");
  EXPECT_EQ(user("0:0"), "0:0");
  for (const char* other : {"0:1", "1", "app", "app:app", "root", "00", "0:"}) EXPECT_EQ(user(other), other);
}

TEST(ExecutionTest, PortsHaveAProtocol) {
  EXPECT_THAT(Of([](ImageConfig& c) {
                c.exposed_ports = {"80", "80/TCP", "053/udp", "7000-7002"};
              }).ports,
              ElementsAre("53/udp", "7000-7002/tcp", "80/tcp"));
}

TEST(ExecutionTest, AnUnknownStopSignalIsCorrupt) {
  EXPECT_EQ(Of([](ImageConfig& c) { c.stop_signal = "SIGQUIT"; }).stop_signal, 3);
  EXPECT_EQ(CaughtError([] { Of([](ImageConfig& c) { c.stop_signal = "SIGNONSENSE"; }); }).kind(), ErrorKind::kCorrupt);
}

TEST(ParseSignalTest, KnowsNamesAndNumbers) {
  for (const char* three : {"SIGQUIT", "quit", "Sigquit", "3", "03"}) EXPECT_EQ(ParseSignal(three), 3) << three;
  EXPECT_EQ(ParseSignal("SIGHUP"), 1);
  EXPECT_EQ(ParseSignal("SIGSYS"), 31);
  EXPECT_EQ(ParseSignal("IOT"), ParseSignal("ABRT"));
  EXPECT_EQ(ParseSignal("SIGRTMIN"), 34);
  EXPECT_EQ(ParseSignal("SIGRTMIN+3"), 37);
  EXPECT_EQ(ParseSignal("rtmax-14"), 50);
  for (const char* bad : {"", "SIG", "0", "65", "-1", "3x", "RTMIN+31", "RTMIN+", "RTMIN-1", "RTMAX+1", "FOO"})
    EXPECT_EQ(ParseSignal(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace gantry::image
