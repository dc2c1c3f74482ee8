// Documents that tools of others wrote, read by us; documents of ours, judged by tools of others.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "libimage/base/process.h"
#include "libimage/model/aci_manifest.h"
#include "libimage/model/image.h"
#include "libimage/model/media_type.h"
#include "tests/support/source_dir.h"
#include "tests/support/temp_dir.h"
#include "tests/support/testdata.h"

namespace gantry::image {
namespace {

namespace fs = std::filesystem;
using gantry::testing::Cases;
using gantry::testing::ReadText;
using gantry::testing::TempDir;

bool Installed(const std::string& program) {
  return RunCaptured({"sh", "-c", "command -v \"$0\"", program}, "", 4096).status.code == 0;
}

void MustRun(const std::vector<std::string>& argv) {
  const Captured result = RunCaptured(argv, "", 1 << 20);
  ASSERT_EQ(result.status.code, 0) << argv[0] << " " << argv[1] << ": " << result.output;
}

// An image of one layer, by umoci; its layout is DIR/layout, its tag "a".
void MakeImage(const std::string& dir) {
  const std::string layout = dir + "/layout";
  const std::string image = layout + ":a";
  std::ofstream(dir + "/file") << "content";
  MustRun({"umoci", "init", "--layout", layout});
  MustRun({"umoci", "new", "--image", image});
  MustRun({"umoci", "insert", "--rootless", "--image", image, dir + "/file", "/file"});
  MustRun({"umoci",
           "config",
           "--image",
           image,
           "--config.user",
           "app:users",
           "--config.env",
           "A=b=c",
           "--config.cmd",
           "x",
           "--config.cmd",
           "y z",
           "--config.entrypoint",
           "/init",
           "--config.volume",
           "/data",
           "--config.workingdir",
           "/srv",
           "--config.exposedports",
           "80/tcp",
           "--config.label",
           "k=v",
           "--config.stopsignal",
           "SIGINT",
           "--author",
           "Me",
           "--os",
           "linux",
           "--architecture",
           "arm64"});
}

void ExpectTheImage(const Image& image) {
  const ImageConfig& config = image.config;
  EXPECT_EQ(config.platform.ToString(), "linux/arm64");
  EXPECT_EQ(config.author, "Me");
  EXPECT_EQ(config.user, "app:users");
  EXPECT_EQ(config.env.back(), "A=b=c");
  EXPECT_EQ(config.entrypoint, std::vector<std::string>{"/init"});
  EXPECT_EQ(config.cmd, (std::vector<std::string>{"x", "y z"}));
  EXPECT_EQ(config.working_dir, "/srv");
  EXPECT_EQ(config.volumes, std::vector<std::string>{"/data"});
  EXPECT_EQ(config.exposed_ports, std::vector<std::string>{"80/tcp"});
  EXPECT_EQ(config.labels.at("k"), "v");
  EXPECT_EQ(config.stop_signal, "SIGINT");
  EXPECT_EQ(image.manifest.layers.size(), 1u);
  EXPECT_EQ(LayerCompression(image.manifest.layers[0].media_type), Compression::kGzip);
}

TEST(InteropTest, ReadsAnOciImageOfUmoci) {
  if (!Installed("umoci"))
    GTEST_SKIP() << "umoci is not installed";
  const TempDir temp;
  MakeImage(temp.path());
  const fs::path blobs = fs::path(temp.path()) / "layout/blobs/sha256";
  const auto index = std::get<Index>(ParseManifest(ReadText(blobs / "../../index.json")));
  ASSERT_EQ(index.manifests.size(), 1u);
  const std::string manifest = ReadText(blobs / index.manifests[0].digest.hex());
  const std::string config = ReadText(blobs / std::get<Manifest>(ParseManifest(manifest)).config.digest.hex());
  const Image image = Image::FromBytes(manifest, index.manifests[0].media_type, config);
  EXPECT_EQ(image.descriptor.digest, index.manifests[0].digest);
  EXPECT_EQ(image.manifest.media_type, kOciManifestType);
  ExpectTheImage(image);
}

TEST(InteropTest, ReadsADockerImageOfSkopeo) {
  if (!Installed("umoci") || !Installed("skopeo"))
    GTEST_SKIP() << "umoci or skopeo is not installed";
  const TempDir temp;
  MakeImage(temp.path());
  const std::string directory = temp.path() + "/docker";
  MustRun({"skopeo", "--insecure-policy", "copy", "-q", "--format", "v2s2", "oci:" + temp.path() + "/layout:a",
           "dir:" + directory});
  const std::string manifest = ReadText(directory + "/manifest.json");
  const std::string config =
      ReadText(directory + "/" + std::get<Manifest>(ParseManifest(manifest)).config.digest.hex());
  const Image image = Image::FromBytes(manifest, kDockerManifestType, config);
  EXPECT_EQ(image.manifest.config.media_type, kDockerConfigType);
  ExpectTheImage(image);
  EXPECT_EQ(RunCaptured({"skopeo", "manifest-digest", directory + "/manifest.json"}, "", 4096).output,
            image.descriptor.digest.str() + "\n");
}

// Whether skopeo can read this name of a Docker image; it is the first thing that it looks at here.
bool SkopeoReads(const std::string& name, const std::string& dir) {
  const std::string output =
      RunCaptured(
          {"sh", "-c", "GNUPGHOME=$0 exec skopeo standalone-verify -- \"$0/manifest\" \"$1\" $2 \"$0/signature\" 2>&1",
           dir, name, std::string(40, 'A')},
          "", 1 << 16)
          .output;
  const bool refused = output.find("invalid reference format") != std::string::npos ||
                       output.find("repository name must") != std::string::npos ||
                       output.find("invalid checksum digest") != std::string::npos ||
                       output.find("unsupported digest algorithm") != std::string::npos ||
                       output.find("64-byte hexadecimal") != std::string::npos;
  EXPECT_NE(output.find("Error verifying signature"), std::string::npos) << output;
  return !refused;
}

TEST(InteropTest, ReadsTheNamesThatSkopeoReads) {
  if (!Installed("skopeo"))
    GTEST_SKIP() << "skopeo is not installed";
  const TempDir temp;
  std::ofstream(temp.path() + "/manifest") << "{}";
  std::ofstream(temp.path() + "/signature") << "x";
  const std::string hex(64, 'f');
  for (const std::string& name : {std::string("a"),
                                  std::string("a/b_c/d--e:T.1"),
                                  std::string("localhost/a"),
                                  std::string("h:80/a__b"),
                                  std::string("a@sha256:") + hex,
                                  std::string("h.io/a:t@sha512:") + hex + hex,
                                  std::string("192.168.1.1:5000"),
                                  "a:" + std::string(128, 't'),
                                  "h.io/" + std::string(250, 'x'),
                                  std::string("A"),
                                  std::string("h.io/aB"),
                                  std::string("a//b"),
                                  std::string("a___b"),
                                  std::string("a._b"),
                                  std::string("-a"),
                                  std::string("a-"),
                                  std::string("a:"),
                                  std::string("a:.t"),
                                  "a:" + std::string(129, 't'),
                                  std::string("h..io/a"),
                                  std::string("h:/a"),
                                  std::string("a@sha256:00"),
                                  "a@sha256:" + std::string(64, 'F'),
                                  std::string("a@md5:00"),
                                  hex,
                                  "h.io/" + std::string(251, 'x'),
                                  std::string("a b"),
                                  std::string("[fe80::1%eth0]/a")}) {
    bool ours = true;
    try {
      DockerReference::Parse(name);
    } catch (const Error&) {
      ours = false;
    }
    EXPECT_EQ(ours, SkopeoReads(name, temp.path())) << name;
  }
}

TEST(InteropTest, ActoolTakesOurAciManifests) {
  const std::string build = fs::read_symlink("/proc/self/exe").parent_path().parent_path().string();
  const Captured tool = RunCaptured(
      {"bash", testing::SourceDir() + "/tests/support/build_appc.sh", "actool", build + "/actool"}, "", 4096);
  if (tool.status.code == 77)
    GTEST_SKIP() << tool.output;
  ASSERT_EQ(tool.status.code, 0);
  const std::string actool = tool.output.substr(0, tool.output.find('\n'));
  const TempDir temp;
  const std::string file = temp.path() + "/manifest";
  const auto judge = [&](const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
    return RunCaptured({actool, "validate", "-type=manifest", file}, "", 1 << 20).status.code;
  };
  for (const auto& place : Cases("golden/aci_manifest", 2))
    EXPECT_EQ(judge(AciManifest::Parse(ReadText(place / "manifest.json")).ToJson()), 0) << place;
  EXPECT_EQ(judge(AciManifest{.name = ToAcIdentifier("[::1]:5000/a__b--c")}.ToJson()), 0);
  EXPECT_NE(judge(AciManifest{.name = "Upper"}.ToJson()), 0) << "actool does look";
}

}  // namespace
}  // namespace gantry::image
