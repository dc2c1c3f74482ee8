#include "libimage/layer/identity.h"

#include <gtest/gtest.h>

#include <set>

#include "libimage/base/error.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::TarBuilder;

Identity IdentityOf(const ImageBuilder& builder) { return Identity::Compute(builder.Build(), MemoryBlobs(builder)); }

const Digest kRootfs = Digest::Of("");

Identity Of(const std::function<void(ImageConfig&)>& change) {
  ImageConfig config;
  config.platform = {"linux", "amd64", "", ""};
  config.entrypoint = {"/app"};
  config.cmd = {"serve"};
  config.env = {"A=1", "B=2"};
  config.user = "app";
  change(config);
  return Identity::Of(config, kRootfs);
}
Digest Changed(const std::function<void(ImageConfig&)>& change) { return Of(change).digest; }
const auto kUnchanged = [](ImageConfig&) {};

TEST(IdentityTest, IsTheHashOfACanonicalDocument) {
  const Identity identity = Of([](ImageConfig& c) {
    c.env = {"LANG=\xc3\xa9\n\"\x7f"};
    c.volumes = {"/data"};
    c.exposed_ports = {"80"};
  });
  EXPECT_EQ(identity.document, R"({"architecture":"amd64","args":["/app","serve"],"cwd":"/","env":["LANG=)"
                               "\xc3\xa9\\n\\\"\x7f"
                               R"("],"gantry":"identity/1","os":"linux","ports":["80/tcp"],"rootfs":")" +
                                   kRootfs.str() + R"(","stop":15,"user":"app","variant":"","volumes":["/data"]})");
  EXPECT_EQ(identity.digest, Digest::Of(identity.document));
  EXPECT_EQ(identity.rootfs, kRootfs);
}

TEST(IdentityTest, SpellingsOfOneThingAreOne) {
  const Digest digest = Changed(kUnchanged);
  EXPECT_EQ(Changed([](ImageConfig& c) { c.entrypoint = {}, c.cmd = {"/app", "serve"}; }), digest);
  EXPECT_EQ(Changed([](ImageConfig& c) { c.working_dir = "/"; }), digest);
  EXPECT_EQ(Changed([](ImageConfig& c) { c.stop_signal = "TERM"; }), digest);
  EXPECT_EQ(Changed([](ImageConfig& c) { c.stop_signal = "15"; }), digest);
  EXPECT_EQ(Changed([](ImageConfig& c) { c.platform = {"Linux", "x86_64", "v1", ""}; }), digest);
  EXPECT_EQ(Changed([](ImageConfig& c) {
              c.platform = {"linux", "arm64", "v8", ""};
            }),
            Changed([](ImageConfig& c) {
              c.platform = {"linux", "aarch64", "", ""};
            }));
  EXPECT_EQ(Changed([](ImageConfig& c) {
              c.platform = {"linux", "arm", "", ""};
            }),
            Changed([](ImageConfig& c) {
              c.platform = {"linux", "armhf", "7", ""};
            }));
}

TEST(IdentityTest, WhatIsNotExecutedDoesNotCount) {
  EXPECT_EQ(Changed([](ImageConfig& c) {
              c.labels = {{"a", "b"}};
              c.author = c.created = c.comment = "x";
              c.health_check = HealthCheck{.test = {"CMD", "true"}};
              c.history = {{.created_by = "x"}};
              c.diff_ids = {kRootfs};
            }),
            Changed(kUnchanged));
}

TEST(IdentityTest, EverySingleChangeOfWhatIsExecutedCounts) {
  std::set<Digest> seen{Changed(kUnchanged)};
  const auto is_new = [&](const std::function<void(ImageConfig&)>& change) {
    return seen.insert(Changed(change)).second;
  };
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.cmd = {"serv", "e"}; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.cmd = {}; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.env = {"B=2", "A=1"}; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.env = {"A=1", "B="}; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.working_dir = "/srv"; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.user = ""; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.user = "app:app"; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.volumes = {"/data"}; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.exposed_ports = {"80/udp"}; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.stop_signal = "SIGINT"; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.platform.os = "freebsd"; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.platform.architecture = "arm64"; }));
  EXPECT_TRUE(is_new([](ImageConfig& c) { c.platform.variant = "v3"; }));
}

TEST(IdentityTest, TextThatIsNotUtf8IsRefused) {
  EXPECT_EQ(CaughtError([] { Of([](ImageConfig& c) { c.env = {"A=\xff"}; }); }).kind(), ErrorKind::kCorrupt);
}

TEST(IdentityTest, LayersAndTheirCompressionDoNotCount) {
  const std::string base = TarBuilder().Dir("etc").File("etc/a", "old").File("etc/b", "b").Build();
  const std::string top = TarBuilder().Whiteout("etc", "b").File("etc/a", "new").HardLink("etc/c", "etc/a").Build();
  const std::string squashed = TarBuilder().File("./etc/c", "new").HardLink("/etc/a", "etc/c").Build();
  const Digest digest = IdentityOf(ImageBuilder().Layer(base).Layer(top)).digest;
  EXPECT_EQ(IdentityOf(ImageBuilder(true).Layer(base, Compression::kGzip).Layer(top)).digest, digest);
  EXPECT_EQ(IdentityOf(ImageBuilder().Layer(base, Compression::kZstd).Layer(top, Compression::kNone)).digest, digest);
  EXPECT_EQ(IdentityOf(ImageBuilder().Layer(squashed)).digest, digest);
  EXPECT_NE(IdentityOf(ImageBuilder().Layer(base)).digest, digest);
  EXPECT_NE(IdentityOf(ImageBuilder().Layer(squashed).Config("User", "1")).digest, digest);
}

TEST(IdentityTest, APathTwiceInALayerCountsOnceAsItIsLast) {
  const std::string twice = TarBuilder().File("a", "old").File("b", "b").File("a", "new").Build();
  const std::string once = TarBuilder().File("a", "new").File("b", "b").Build();
  EXPECT_EQ(IdentityOf(ImageBuilder().Layer(twice)).digest, IdentityOf(ImageBuilder().Layer(once)).digest);
}

// Layers are rendered once and found by their diff IDs: a configuration that names another layer's would have that one
// executed.
TEST(IdentityTest, AnImageWhoseLayersAreNotThoseOfItsConfigurationHasNone) {
  const ImageBuilder good = ImageBuilder().Layer(TarBuilder().File("bin/app", "good").Build());
  const ImageBuilder other = ImageBuilder().Layer(TarBuilder().File("bin/app", "evil").Build());
  Image image = good.Build();
  image.config.diff_ids = other.Build().config.diff_ids;
  EXPECT_EQ(CaughtError([&] { Identity::Compute(image, MemoryBlobs(good)); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
