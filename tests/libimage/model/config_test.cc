#include "libimage/model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/error.h"
#include "libimage/model/manifest.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::Pair;

const std::string kRootfs = R"("rootfs":{"type":"layers","diff_ids":[]})";

ImageConfig With(const std::string& members) {
  return ImageConfig::Parse(R"({"architecture":"amd64","os":"linux",)" + kRootfs + "," + members + "}");
}

ImageConfig Executing(const std::string& members) { return With("\"config\":{" + members + "}"); }

void ExpectCorrupt(const std::string& text, std::string_view part) {
  const Error error = CaughtError([&] { ImageConfig::Parse(text); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << text;
  EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
}

void ExpectExecutionCorrupt(const std::string& members, std::string_view part) {
  const Error error = CaughtError([&] { Executing(members); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << members;
  EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
}

TEST(ConfigTest, ReadsEverything) {
  const std::string diff_id = "sha256:" + std::string(64, 'b');
  const ImageConfig config = ImageConfig::Parse(R"({"architecture":"arm","os":"linux","variant":"v7","os.version":"1",
    "created":"2024-01-02T03:04:05.678Z","author":"A <a@example.com>","docker_version":"24.0","parent":"p","comment":"c",
    "config":{"User":"app:users","Env":["PATH=/bin","EMPTY=","NAKED"],"Entrypoint":["/init"],"Cmd":["-v","x y"],
      "WorkingDir":"/srv","Volumes":{"/data":{},"/a":{}},"ExposedPorts":{"80/tcp":{},"53/udp":{}},
      "Labels":{"k":"v","empty":null},"StopSignal":"SIGQUIT",
      "Healthcheck":{"Test":["CMD","true"],"Interval":30000000000,"Timeout":1000000000,"StartPeriod":5,"Retries":3}},
    "rootfs":{"type":"layers","diff_ids":[")" + diff_id +
                                                R"("]},
    "history":[{"created":"2024-01-02T03:04:05Z","created_by":"ADD x"},{"created_by":"CMD","empty_layer":true}]})");
  EXPECT_EQ(config.platform, (Platform{"linux", "arm", "v7", "1"}));
  EXPECT_EQ(config.created, "2024-01-02T03:04:05.678Z");
  EXPECT_EQ(config.author, "A <a@example.com>");
  EXPECT_EQ(config.docker_version, "24.0");
  EXPECT_EQ(config.parent, "p");
  EXPECT_EQ(config.comment, "c");
  EXPECT_EQ(config.user, "app:users");
  EXPECT_THAT(config.env, ElementsAre("PATH=/bin", "EMPTY=", "NAKED"));
  EXPECT_THAT(config.entrypoint, ElementsAre("/init"));
  EXPECT_THAT(config.cmd, ElementsAre("-v", "x y"));
  EXPECT_EQ(config.working_dir, "/srv");
  EXPECT_THAT(config.volumes, ElementsAre("/a", "/data"));
  EXPECT_THAT(config.exposed_ports, ElementsAre("53/udp", "80/tcp"));
  EXPECT_THAT(config.labels, ElementsAre(Pair("empty", ""), Pair("k", "v")));
  EXPECT_EQ(config.stop_signal, "SIGQUIT");
  ASSERT_TRUE(config.health_check);
  EXPECT_EQ(config.health_check->interval_ns, 30'000'000'000u);
  EXPECT_EQ(config.health_check->retries, 3u);
  EXPECT_EQ(config.diff_ids.at(0).str(), diff_id);
  ASSERT_EQ(config.history.size(), 2u);
  EXPECT_EQ(config.history[0].created_by, "ADD x");
  EXPECT_TRUE(config.history[1].empty_layer);
}

TEST(ConfigTest, NullsAndAbsenceAreEmpty) {
  const ImageConfig config = With(
      R"("created":null,"history":null,"config":{"Env":null,"Entrypoint":null,"Cmd":null,"Volumes":null,"User":null,
         "ExposedPorts":null,"Labels":null,"Healthcheck":null,"WorkingDir":""})");
  EXPECT_TRUE(config.env.empty());
  EXPECT_TRUE(config.entrypoint.empty());
  EXPECT_TRUE(config.volumes.empty());
  EXPECT_TRUE(config.labels.empty());
  EXPECT_FALSE(config.health_check);
  EXPECT_TRUE(With(R"("config":null)").cmd.empty());
  EXPECT_TRUE(With(R"("x":1)").cmd.empty());
  EXPECT_TRUE(ImageConfig::Parse(R"({"architecture":"a","os":"b","rootfs":{"type":"layers","diff_ids":null}})")
                  .diff_ids.empty());
}

TEST(ConfigTest, AStringAsCommandIsOneForTheShell) {
  const ImageConfig config = Executing(R"("Cmd":"echo hi","Entrypoint":"")");
  EXPECT_THAT(config.cmd, ElementsAre("/bin/sh", "-c", "echo hi"));
  EXPECT_TRUE(config.entrypoint.empty());
}

TEST(ConfigTest, ReadsNamesInAnyLetterCaseAsGoDoes) {
  EXPECT_THAT(Executing(R"("cmd":["x"],"ENV":["A=b"])").cmd, ElementsAre("x"));
}

TEST(ConfigTest, RefusesTwoNamesThatDifferInLetterCaseOnly) {
  ExpectExecutionCorrupt(R"("Cmd":["x"],"cmd":["y"])", "letter case");
  ExpectCorrupt(R"({"architecture":"a","os":"b",)" + kRootfs + R"(,"RootFS":{}})", "letter case");
}

TEST(ConfigTest, RequiresPlatformAndRootfs) {
  ExpectCorrupt("{}", "'os' or 'architecture'");
  ExpectCorrupt(R"({"os":"linux",)" + kRootfs + "}", "'os' or 'architecture'");
  ExpectCorrupt(R"({"os":"linux","architecture":"",)" + kRootfs + "}", "'os' or 'architecture'");
  ExpectCorrupt(R"({"os":"linux","architecture":"amd64"})", "'rootfs' is missing");
  ExpectCorrupt(R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers+base"}})", "'type'");
  ExpectCorrupt("[]", "expected an object");
}

TEST(ConfigTest, RefusesWhatNoProcessCanBeGiven) {
  ExpectExecutionCorrupt(R"("Env":["A=\u0000"])", "'/config/Env/0': holds a NUL byte");
  ExpectExecutionCorrupt(R"("Cmd":["a\u0000b"])", "NUL");
  ExpectExecutionCorrupt(R"("Cmd":"a\u0000b")", "NUL");
  ExpectExecutionCorrupt(R"("User":"a\u0000b")", "NUL");
  ExpectExecutionCorrupt(R"("WorkingDir":"/\u0000")", "NUL");
  ExpectExecutionCorrupt(R"("Volumes":{"/a\u0000":{}})", "NUL");
  ExpectExecutionCorrupt(R"("Env":[")" + std::string(128 * 1024 + 1, 'x') + "\"]", "longer than");
}

TEST(ConfigTest, RefusesOtherTypes) {
  ExpectExecutionCorrupt(R"("Env":"A=b")", "expected an array");
  ExpectExecutionCorrupt(R"("Env":[1])", "expected a string");
  ExpectExecutionCorrupt(R"("Cmd":{"a":1})", "expected an array");
  ExpectExecutionCorrupt(R"("Volumes":["/a"])", "expected an object");
  ExpectExecutionCorrupt(R"("Volumes":{"":{}})", "empty");
  ExpectExecutionCorrupt(R"("Healthcheck":{"Interval":-1})", "'/config/Healthcheck/Interval'");
  ExpectExecutionCorrupt(R"("Healthcheck":{"Interval":1.5})", "'/config/Healthcheck/Interval'");
  ExpectExecutionCorrupt(R"("Healthcheck":{"Interval":18446744073709551615})", "'/config/Healthcheck/Interval'");
}

TEST(ConfigTest, BoundsItsLists) {
  const auto list = [](size_t count, const std::string& element) {
    std::string out = "[" + element;
    for (size_t i = 1; i < count; ++i) out += "," + element;
    return out + "]";
  };
  const std::string id = "\"sha256:" + std::string(64, 'b') + "\"";
  const std::string head = R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":)";
  EXPECT_EQ(ImageConfig::Parse(head + list(kMaxLayers, id) + "}}").diff_ids.size(), kMaxLayers);
  ExpectCorrupt(head + list(kMaxLayers + 1, id) + "}}", "'/rootfs/diff_ids': more than 1000");
  ExpectExecutionCorrupt("\"Env\":" + list(10'001, "\"A=b\""), "more than 10000");
  ExpectCorrupt(head + "[]},\"history\":" + list(10'001, "{}") + "}", "'/history': more than 10000");
  ExpectCorrupt(std::string(kMaxConfigBytes + 1, ' '), "larger than");
}

TEST(ConfigTest, ParsesTheConfigurationOfAWindowsImage) {
  EXPECT_EQ(
      ImageConfig::Parse(R"({"architecture":"amd64","os":"windows","os.version":"10.0.20348.2340",)" + kRootfs + "}")
          .platform.os_version,
      "10.0.20348.2340");
}

}  // namespace
}  // namespace gantry::image
