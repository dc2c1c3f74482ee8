#include "libimage/convert/from_aci.h"

#include "libimage/layer/identity.h"
#include "tests/libimage/convert/convert_fixture.h"

namespace gantry::image {
namespace {

ImageBuilder Rich() {
  ImageBuilder image;
  image.Platform(kAmd);
  image.Layer(TarBuilder().Dir("etc", 0700).File("etc/a", "a").File("etc/gone", "x").Build());
  image.Layer(TarBuilder().Whiteout("etc", "gone").File("b", std::string(300'000, 'b')).HardLink("c", "b").Build());
  image.Config("Entrypoint", std::vector<std::string>{"/bin/sh", "-c"}).Config("Cmd", std::vector<std::string>{"b"});
  image.Config("User", "app").Config("WorkingDir", "/etc").Config("StopSignal", "SIGINT");
  image.Config("Env", std::vector<std::string>{"A=1", "B=2=3"})
      .Config("ExposedPorts", json::Object{{"53/udp", json::Object()}});
  image.Config("Volumes", json::Object{{"/var/x_y", json::Object()}}).Config("Labels", json::Object{{"Any Key", "v"}});
  image.Config("Healthcheck", json::Object{{"Test", json::Array{"CMD", "true"}}, {"Interval", 5}});
  image.Config("Unknown", json::Object{{"to", "us"}});
  return image;
}

class FromAciTest : public FileConversionTest {
 protected:
  std::unique_ptr<AciImage> Open() const { return AciImage::Open(PathOf("x.aci"), {}, kAmd); }

  void WriteFrom(const ImageBuilder& image) const {
    AciOptions options;
    options.naming.name = "example.com/app";
    std::string bytes;
    ConvertToAci(
        Trusted(image), MemoryBlobs(image),
        [&] {
          bytes.clear();
          return StringSink(bytes);
        },
        options);
    Write("x.aci", bytes);
  }
  void WriteWith(const AciManifest& manifest) const {
    Write("x.aci", TarBuilder().File("manifest", manifest.ToJson()).Dir("rootfs").File("rootfs/a", "a").Build());
  }
  // The ACI of Rich with another manifest.
  Error RefusedWith(const std::function<void(AciManifest&)>& change) const {
    AciManifest manifest = ToAciManifest(Rich().Build(), {.name = "example.com/app"});
    change(manifest);
    WriteWith(manifest);
    return CaughtError([&] { Open(); });
  }
};

TEST_F(FromAciTest, ConfigurationComesBackButForItsLayers) {
  WriteFrom(Rich());
  const auto aci = Open();
  const json::Value before = json::Parse(Rich().ConfigBytes(), "before");
  const json::Value after = json::Parse(aci->image().config_bytes, "after");
  for (const auto& [key, value] : before.object()->members()) {
    if (key != "rootfs" && key != "history") {
      EXPECT_EQ(*after.object()->Find(key), value) << key;
    }
  }
  EXPECT_THAT(aci->image().config.diff_ids, ElementsAre(aci->image().manifest.layers[0].digest));
  EXPECT_THAT(aci->notes(), IsEmpty());
}

TEST_F(FromAciTest, IdentityIsTheSame) {
  WriteFrom(Rich());
  const auto aci = Open();
  EXPECT_EQ(Identity::Compute(aci->image(), *aci).digest,
            Identity::Compute(Rich().Build(), MemoryBlobs(Rich())).digest);
}

TEST_F(FromAciTest, EveryBlobIsThere) {
  WriteFrom(Rich());
  const auto aci = Open();
  for (const Descriptor& blob : {aci->image().manifest.config, aci->image().manifest.layers[0]})
    EXPECT_EQ(Digest::Of(Drain(*aci->Open(blob, "a blob"), 1 << 20, "a blob")), blob.digest);
}

TEST_F(FromAciTest, AnnotationsMustAgreeWithWhatIsExecuted) {
  const std::vector<std::pair<const char*, std::function<void(AciManifest&)>>> changes = {
      {"exec", [](AciManifest& m) { m.app->exec = {"/bin/other"}; }},
      {"user", [](AciManifest& m) { m.app->user = "0"; }},
      {"user", [](AciManifest& m) { m.app->group = "0"; }},
      {"environment", [](AciManifest& m) { m.app->environment[0].second = "2"; }},
      {"working directory", [](AciManifest& m) { m.app->working_directory = "/"; }},
      {"mount points", [](AciManifest& m) { m.app->mount_points.clear(); }},
      {"ports", [](AciManifest& m) { m.app->ports[0].port = 54; }},
      {"user labels", [](AciManifest& m) { m.app->user_labels.clear(); }},
      {"exec", [](AciManifest& m) { m.app.reset(); }},
      {"label arch", [](AciManifest& m) { m.labels[0].second = "i386"; }},
      {"label os",
       [](AciManifest& m) {
         m.labels = {{"os", "freebsd"}};
       }},
  };
  for (const auto& [field, change] : changes) {
    const Error error = RefusedWith(change);
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << field;
    EXPECT_THAT(error.message(), HasSubstr(field));
  }
  for (const std::string_view annotation :
       {kEntrypointAnnotation, kCmdAnnotation, kUserAnnotation, kStopSignalAnnotation}) {
    const Error error = RefusedWith([&](AciManifest& m) {
      for (auto& [name, value] : m.annotations) {
        if (name == annotation)
          value = name.ends_with("t") || name.ends_with("d") ? R"(["other"])" : "other";
      }
    });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << annotation;
  }
}

AciManifest Docker2aci() {
  AciManifest manifest{.name = "example.com/app",
                       .labels = {{"arch", "aarch64"}, {"os", "linux"}},
                       .app = AciApp{.exec = {"/bin/sh", "-c", "x"}, .user = "app", .group = "app"},
                       .annotations = {{"author", "me"},
                                       {"created", "2020-01-02T03:04:05Z"},
                                       {"appc.io/docker/entrypoint", R"(["/bin/sh","-c"])"},
                                       {"appc.io/docker/cmd", R"(["x"])"}}};
  manifest.app->ports = {{.name = "web", .protocol = "tcp", .port = 80, .count = 2}};
  manifest.app->mount_points = {{"data", "/data", true}};
  return manifest;
}

TEST_F(FromAciTest, WhatDocker2aciWritesIsUnderstood) {
  WriteWith(Docker2aci());
  const auto aci = Open();
  const ImageConfig& config = aci->image().config;
  EXPECT_THAT(config.entrypoint, ElementsAre("/bin/sh", "-c"));
  EXPECT_THAT(config.cmd, ElementsAre("x"));
  EXPECT_EQ(config.user, "app:app");
  EXPECT_EQ(config.platform.architecture, "arm64");
  EXPECT_EQ(config.author, "me");
  EXPECT_THAT(config.exposed_ports, ElementsAre("80/tcp", "81/tcp"));
  EXPECT_THAT(config.volumes, ElementsAre("/data"));
  AciManifest changed = Docker2aci();
  changed.app->exec.back() = "y";
  WriteWith(changed);
  EXPECT_EQ(CaughtError([&] { Open(); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(FromAciTest, PlainAciIsAnImage) {
  WriteWith({.name = "example.com/lib"});
  EXPECT_EQ(Open()->image().config.platform, kAmd);
  EXPECT_THAT(Open()->image().config.entrypoint, IsEmpty());
  WriteWith({.name = "example.com/app", .app = AciApp{.exec = {"/a"}, .user = "0", .group = "0"}});
  EXPECT_THAT(Open()->image().config.entrypoint, ElementsAre("/a"));
  EXPECT_EQ(Open()->image().config.user, "");
  WriteWith({.name = "example.com/app", .app = AciApp{.exec = {"/a"}, .user = "/a", .group = "0"}});
  EXPECT_EQ(CaughtError([&] { Open(); }).kind(), ErrorKind::kUnsupported);
}

TEST_F(FromAciTest, WhatOnlyAnAciHasComesBack) {
  AciManifest before = Docker2aci();
  before.app->isolators.emplace_back("resource/memory", json::Object{{"limit", "1G"}});
  before.app->event_handlers.push_back({"pre-start", {"/x"}});
  before.app->supplementary_gids = {7};
  before.app->user_annotations = {{"any", "thing"}};
  before.labels.emplace_back("channel", "beta");
  WriteWith(before);
  const Image image = Open()->image();
  const AciManifest after = ToAciManifest(image, {.name = "example.com/app"});
  EXPECT_EQ(after.app, before.app);
  for (const AppcPair& label : before.labels) EXPECT_THAT(after.labels, Contains(label));
  for (const AppcPair& annotation : before.annotations) EXPECT_THAT(after.annotations, Contains(annotation));
  WriteWith(after);
  EXPECT_EQ(Open()->image().config_bytes, image.config_bytes);
  EXPECT_THAT(Open()->notes(), SizeIs(3));
}

TEST_F(FromAciTest, HistoryTellsWhichAciEachLayerWas) {
  const AciManifest lib{.name = "example.com/lib", .annotations = {{"created", "2020-01-02T03:04:05Z"}}};
  Write("lib.aci", TarBuilder().File("manifest", lib.ToJson()).Dir("rootfs").File("rootfs/b", "b").Build());
  WriteWith({.name = "example.com/app", .dependencies = {{.image_name = "example.com/lib"}}});
  const auto aci = Open();
  const auto& history = aci->image().config.history;
  ASSERT_THAT(history, SizeIs(2));
  EXPECT_EQ(history[0].created_by, "ACI example.com/lib");
  EXPECT_EQ(history[0].created, "2020-01-02T03:04:05Z");
  EXPECT_EQ(history[1].created_by, "ACI example.com/app");
  EXPECT_EQ(history[1].created, "");
}

TEST_F(FromAciTest, ManifestOfAnotherAciIsCorrupt) {
  WriteWith(Docker2aci());
  const Image image = Open()->image();
  const std::string other = ImageBuilder().Config("User", "x").ConfigBytes();
  Manifest manifest = image.manifest;
  manifest.config.digest = Digest::Of(other);
  manifest.config.size = other.size();
  manifest.layers.clear();
  const Image changed = Image::FromBytes(manifest.ToJson(), "", other);
  EXPECT_EQ(CaughtError([&] { ToAciManifest(changed, {.name = "a"}); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(FromAciTest, WhatOnlyAnAciHasIsNoted) {
  AciApp app{.exec = {"/a"}, .user = "0", .group = "0", .supplementary_gids = {7}};
  app.isolators.emplace_back("resource/memory", json::Object{{"limit", "1G"}});
  WriteWith({.name = "example.com/app", .app = app});
  EXPECT_THAT(Open()->notes(), ElementsAre(HasSubstr("resource/memory"), HasSubstr("groups")));
}

}  // namespace
}  // namespace gantry::image
