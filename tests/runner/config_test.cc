#include "runner/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;
using ::testing::StartsWith;

image::ImageConfig Image() {
  image::ImageConfig image;
  image.platform.os = "linux";
  image.entrypoint = {"/bin/app", "--serve"};
  image.cmd = {"now"};
  image.env = {"PATH=/app", "A=image", "B=image"};
  return image;
}

TEST(PlanTest, EntrypointAndCmdAreExecuted) {
  EXPECT_THAT(Plan(Image(), {}).args, ElementsAre("/bin/app", "--serve", "now"));
}

TEST(PlanTest, ArgumentsReplaceCmdOnly) {
  EXPECT_THAT(Plan(Image(), {.args = {"later"}}).args, ElementsAre("/bin/app", "--serve", "later"));
}

TEST(PlanTest, AnEntrypointDropsCmd) {
  EXPECT_THAT(Plan(Image(), {.entrypoint = "/bin/sh"}).args, ElementsAre("/bin/sh"));
  EXPECT_THAT(Plan(Image(), {.args = {"ls"}, .entrypoint = ""}).args, ElementsAre("ls"));
}

TEST(PlanTest, NothingToExecuteIsUsage) {
  EXPECT_EQ(CaughtError([] { Plan({}, {}); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(CaughtError([] { Plan(Image(), {.entrypoint = ""}); }).kind(), ErrorKind::kUsage);
}

TEST(PlanTest, EnvironmentOfTheCommandLineWins) {
  const RunConfig config = Plan(Image(), {.env = {"A=mine", "B", "C=new"}});
  EXPECT_THAT(config.env, ElementsAre("PATH=/app", "A=mine", "container=gantry", "C=new"));
}

TEST(PlanTest, PathIsAlwaysThere) {
  image::ImageConfig image = Image();
  image.env = {"no-equals-sign", "=nameless"};
  EXPECT_THAT(Plan(image, {}).env, ElementsAre(StartsWith("PATH=/usr/local/sbin:"), "container=gantry"));
}

TEST(PlanTest, OnlyATerminalGetsTerm) {
  EXPECT_THAT(Plan(Image(), {.terminal = true, .terminal_type = "vt100"}).env, Contains("TERM=vt100"));
  EXPECT_THAT(Plan(Image(), {}).env, Not(Contains(StartsWith("TERM="))));
}

TEST(PlanTest, WorkingDirectoryIsAbsoluteAndClean) {
  image::ImageConfig image = Image();
  EXPECT_EQ(Plan(image, {}).working_dir, "/");
  image.working_dir = "srv/./x//../y/";
  EXPECT_EQ(Plan(image, {}).working_dir, "/srv/y");
  EXPECT_EQ(Plan(image, {.working_dir = "/../../etc"}).working_dir, "/etc");
  EXPECT_EQ(CaughtError([&] { Plan(image, {.working_dir = "etc"}); }).kind(), ErrorKind::kUsage);
}

TEST(PlanTest, RefusesAnImageOfAnotherSystem) {
  image::ImageConfig image = Image();
  image.platform.os = "windows";
  EXPECT_EQ(CaughtError([&] { Plan(image, {}); }).kind(), ErrorKind::kUnsupported);
}

TEST(PlanTest, RefusesBytesThatNoProgramCouldGet) {
  image::ImageConfig image = Image();
  image.cmd = {std::string("a\0b", 3)};
  EXPECT_EQ(CaughtError([&] { Plan(image, {}); }).kind(), ErrorKind::kCorrupt);
  image.cmd = {std::string(3 * 1024 * 1024, 'x')};
  EXPECT_EQ(CaughtError([&] { Plan(image, {}); }).kind(), ErrorKind::kCorrupt);
}

TEST(PlanTest, HostNamesAreChecked) {
  EXPECT_EQ(Plan(Image(), {.hostname = "web-1.example"}).hostname, "web-1.example");
  for (const std::string bad : {"a b", "-x", "a\nb", "x/y"})
    EXPECT_EQ(CaughtError([&] { Plan(Image(), {.hostname = bad}); }).kind(), ErrorKind::kUsage) << bad;
  EXPECT_EQ(CaughtError([] { Plan(Image(), {.hostname = std::string(64, 'a')}); }).kind(), ErrorKind::kUsage);
}

TEST(VolumeTest, ParsesSourceTargetAndMode) {
  EXPECT_EQ(Volume::Parse("/a:/b"), (Volume{"/a", "/b", false}));
  EXPECT_EQ(Volume::Parse("/a:/b/../c/:ro"), (Volume{"/a", "/c", true}));
  EXPECT_EQ(Volume::Parse("/a:/b:rw"), (Volume{"/a", "/b", false}));
}

TEST(VolumeTest, RefusesWhatIsNoVolume) {
  for (const std::string bad : {"", "/a", "a:/b", "/a:b", "/a:", ":/b", "/a:/b:rx", "/a:/b:ro:", "/a:/", "/a:/proc",
                                "/a:/proc/sys", "/a:/x/../sys/kernel"})
    EXPECT_EQ(CaughtError([&] { Volume::Parse(bad); }).kind(), ErrorKind::kUsage) << bad;
  EXPECT_EQ(Volume::Parse("/a:/process").target, "/process");
}

TEST(PlanTest, AProfileThatNobodyReadIsNotPassedOver) {
  RunOptions options;
  options.seccomp_profile = "profile.json";
  EXPECT_EQ(CaughtError([&] { Plan(Image(), options); }).kind(), ErrorKind::kFailed);
}

TEST(PlanTest, AnUnknownStopSignalIsCorrupt) {
  image::ImageConfig image = Image();
  EXPECT_EQ(Plan(image, {}).stop_signal, SIGTERM);
  image.stop_signal = "SIGQUIT";
  EXPECT_EQ(Plan(image, {}).stop_signal, SIGQUIT);
  image.stop_signal = "SIGNONSENSE";
  EXPECT_EQ(CaughtError([&] { Plan(image, {}); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::runner
