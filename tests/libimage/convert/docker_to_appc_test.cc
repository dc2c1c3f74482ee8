#include "libimage/convert/docker_to_appc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libimage/base/json.h"
#include "tests/support/image_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

AciNaming Naming() { return AciNaming::For(DockerReference::Parse("127.0.0.1:5602/foo/bar:v1")); }

AciManifest Manifest(const ImageBuilder& image) { return ToAciManifest(image.Build(), Naming()); }

AciManifest With(const std::string& key, json::Value value) {
  return Manifest(ImageBuilder().Config(key, std::move(value)));
}

json::Value Keys(std::initializer_list<const char*> names) {
  json::Object object;
  for (const char* name : names) object.Append(name, json::Object());
  return object;
}

TEST(DockerToAppcTest, NamesAreThoseOfDocker2aci) {
  EXPECT_EQ(Naming().name, "127.0.0.1_5602/foo/bar");
  EXPECT_EQ(Naming().version, "v1");
  const AciNaming hub = AciNaming::For(DockerReference::Parse("alpine"));
  EXPECT_EQ(hub.name, "registry-1.docker.io/library/alpine");
  EXPECT_EQ(hub.version, "latest");
  const std::string digest = Digest::Of("").str();
  EXPECT_EQ(AciNaming::For(DockerReference::Parse("quay.io/a/b@" + digest)).version, "");
}

TEST(DockerToAppcTest, LayoutNamesComeFromTheRefOrTheDirectory) {
  EXPECT_EQ(AciNaming::ForLayout("/x/My App/", "v2").name, "my_app");
  EXPECT_EQ(AciNaming::ForLayout("/x/My App/", "v2").version, "v2");
  EXPECT_EQ(AciNaming::ForLayout("/x", "quay.io/a/b:v3").name, "quay.io/a/b");
  EXPECT_EQ(AciNaming::ForLayout("/x", "quay.io/a/b:v3").version, "v3");
  EXPECT_EQ(AciNaming::ForLayout("/x", "Not/A/Name").name, "x");
}

TEST(DockerToAppcTest, LabelsAreSortedAndArchitecturesTranslated) {
  const auto labels = [](const char* platform) {
    return Manifest(ImageBuilder().Platform(Platform::Parse(platform))).labels;
  };
  EXPECT_THAT(labels("linux/amd64"), ElementsAre(Pair("arch", "amd64"), Pair("os", "linux"), Pair("version", "v1")));
  EXPECT_THAT(labels("linux/arm/v7"), Contains(Pair("arch", "armv7l")));
  EXPECT_THAT(labels("linux/arm64"), Contains(Pair("arch", "aarch64")));
  EXPECT_THAT(labels("linux/386"), Contains(Pair("arch", "i386")));
  EXPECT_THAT(labels("linux/riscv64"), ElementsAre(Pair("version", "v1")));
  EXPECT_EQ(CaughtError([&] { labels("windows/amd64"); }).kind(), ErrorKind::kUnsupported);
}

TEST(DockerToAppcTest, ExecIsEntrypointAndCommand) {
  const AciManifest manifest = Manifest(ImageBuilder()
                                            .Config("Entrypoint", std::vector<std::string>{"/bin/sh", "-c"})
                                            .Config("Cmd", std::vector<std::string>{"echo \"hi\""}));
  EXPECT_THAT(manifest.app->exec, ElementsAre("/bin/sh", "-c", "echo \"hi\""));
  EXPECT_THAT(manifest.annotations, Contains(Pair("appc.io/docker/entrypoint", R"(["/bin/sh","-c"])")));
  EXPECT_THAT(manifest.annotations, Contains(Pair("appc.io/docker/cmd", R"(["echo \"hi\""])")));
  EXPECT_THAT(Manifest(ImageBuilder()).annotations, Not(Contains(Key("appc.io/docker/cmd"))));
}

TEST(DockerToAppcTest, UserAndGroup) {
  const auto user = [](const char* text) {
    const AciApp app = *With("User", text).app;
    return app.user + " " + app.group;
  };
  EXPECT_EQ(user(""), "0 0");
  EXPECT_EQ(user("app"), "app app");
  EXPECT_EQ(user("1000:100"), "1000 100");
  EXPECT_EQ(CaughtError([&] { user(":5"); }).kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(With("User", "app").annotations, Contains(Pair("appc.io/docker/user", "app")));
  EXPECT_THAT(With("User", "a:b").annotations, Not(Contains(Key("appc.io/docker/user"))));
}

TEST(DockerToAppcTest, EnvironmentKeepsOrderAndTheLaterOfTwo) {
  const AciManifest manifest = With("Env", std::vector<std::string>{"A=1=2", "without", "B=", "A=3", "_x.y-z=ok"});
  EXPECT_THAT(manifest.app->environment, ElementsAre(Pair("A", "3"), Pair("B", ""), Pair("_x.y-z", "ok")));
}

TEST(DockerToAppcTest, VariableWithANameThatAppcForbidsIsUnsupported) {
  for (const char* bad : {"1A=x", "=x", "A B=x", "\xc3\xa4=x"}) {
    const Error error = CaughtError([&] { With("Env", std::vector<std::string>{bad}); });
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << bad;
    EXPECT_THAT(error.message(), HasSubstr("environment variable"));
  }
}

TEST(DockerToAppcTest, PortsAreSortedByName) {
  const AciManifest manifest = With("ExposedPorts", Keys({"8000", "80/tcp", "53/udp"}));
  std::vector<std::string> ports;
  for (const AciPort& port : manifest.app->ports)
    ports.push_back(port.name + " " + port.protocol + " " + std::to_string(port.port) + " " +
                    std::to_string(port.count));
  EXPECT_THAT(ports, ElementsAre("53-udp udp 53 1", "80-tcp tcp 80 1", "8000 tcp 8000 1"));
  for (const char* bad : {"0/tcp", "65536/tcp", "80-90/tcp"}) {
    EXPECT_EQ(CaughtError([&] { With("ExposedPorts", Keys({bad})); }).kind(), ErrorKind::kUnsupported) << bad;
  }
}

TEST(DockerToAppcTest, CollidingVolumesGetDistinctNames) {
  const AciManifest manifest = With("Volumes", Keys({"/a-b", "/a/b", "/a_b", "/a-b-1", "/var//lib/x_y/"}));
  std::vector<std::string> points;
  for (const AciMountPoint& point : manifest.app->mount_points) points.push_back(point.name + " " + point.path);
  EXPECT_THAT(points, ElementsAre("volume-a-b /a-b", "volume-a-b-1 /a-b-1", "volume-a-b-2 /a/b", "volume-a-b-3 /a_b",
                                  "volume-var-lib-x-y /var//lib/x_y/"));
}

TEST(DockerToAppcTest, RelativeWorkingDirectoryIsUnsupported) {
  EXPECT_EQ(With("WorkingDir", "/srv").app->working_directory, "/srv");
  EXPECT_EQ(CaughtError([&] { With("WorkingDir", "srv"); }).kind(), ErrorKind::kUnsupported);
}

TEST(DockerToAppcTest, AnnotationsTellWhereTheImageCameFrom) {
  const ImageBuilder image;
  const AciManifest manifest = Manifest(image);
  EXPECT_THAT(
      manifest.annotations,
      ElementsAre(Pair("created", "2020-01-02T03:04:05Z"),
                  Pair("appc.io/docker/originalname", "127.0.0.1:5602/foo/bar:v1"),
                  Pair("appc.io/docker/registryurl", "127.0.0.1:5602"), Pair("appc.io/docker/repository", "foo/bar"),
                  Pair("appc.io/docker/imageid", Digest::Of(image.ConfigBytes()).str()),
                  Pair("appc.io/docker/manifesthash", Digest::Of(image.ManifestBytes()).str()),
                  Pair("dev.gantry/config", image.ConfigBytes())));
}

TEST(DockerToAppcTest, LabelsOfTheImageBecomeUserLabels) {
  EXPECT_THAT(With("Labels", json::Object({{"Any Key", "v"}})).app->user_labels, ElementsAre(Pair("Any Key", "v")));
}

TEST(DockerToAppcTest, TimesThatAreNotRfc3339AreLeftOut) {
  Image image = ImageBuilder().Build();
  for (const auto& [text, kept] : {std::pair("2024-02-03T04:05:06Z", true),
                                   {"2024-02-03T04:05:06.789+01:00", true},
                                   {"2024-02-03", false},
                                   {"2024-02-03T04:05:06", false},
                                   {"", false}}) {
    image.config.created = text;
    const auto annotations = ToAciManifest(image, Naming()).annotations;
    EXPECT_EQ(!annotations.empty() && annotations[0].first == "created", kept) << text;
  }
}

}  // namespace
}  // namespace gantry::image
