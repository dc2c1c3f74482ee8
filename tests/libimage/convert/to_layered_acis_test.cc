#include "libimage/convert/to_layered_acis.h"

#include <iostream>
#include <random>

#include "libimage/convert/from_aci.h"
#include "libimage/layer/listing.h"
#include "libimage/layer/rootfs_digest.h"
#include "tests/libimage/convert/convert_fixture.h"
#include "tests/libimage/layer/flatten_model.h"

namespace gantry::image {
namespace {

class LayeredAcisTest : public FileConversionTest {
 protected:
  static std::string NameOf(size_t layer) { return std::to_string(layer) + ".aci"; }

  std::vector<LayeredAci> Convert(const ImageBuilder& image, int64_t epoch = 0) const {
    AciOptions options;
    options.epoch = epoch;
    options.naming = {.name = "example.com/app", .version = "v1"};
    std::vector<std::string> files(image.Build().manifest.layers.size() + 1);
    auto made = ConvertToLayeredAcis(
        Trusted(image), MemoryBlobs(image),
        [&](size_t layer) {
          files.at(layer).clear();
          return StringSink(files.at(layer));
        },
        options);
    for (size_t i = 0; i < made.size(); ++i) Write(NameOf(i), files[i]);
    return made;
  }

  // The blobs of the image, where its ACIs look for them.
  void KeepLayers(const ImageBuilder& image) const {
    for (const auto& [digest, bytes] : image.Blobs()) Write("blobs/sha256/" + digest.hex(), bytes);
  }

  std::unique_ptr<AciImage> Open(size_t top) const { return AciImage::Open(PathOf(NameOf(top)), {}, kAmd); }

  static Digest TreeOf(const Image& image, const Blobs& blobs) { return RootfsDigest(ListTree(image, blobs)); }
  static Digest TreeOf(const ImageBuilder& image) { return TreeOf(image.Build(), MemoryBlobs(image)); }

  void ExpectSameTree(const ImageBuilder& image) const {
    const auto made = Convert(image);
    const auto aci = Open(made.size() - 1);
    EXPECT_EQ(TreeOf(aci->image(), *aci), TreeOf(image));
  }

  // Names in the ACI of a layer.
  std::vector<std::string> NamesIn(size_t layer) const {
    std::vector<std::string> names;
    for (const Entry& entry : EntriesIn(layer)) names.push_back(entry.name);
    return names;
  }
  std::vector<Entry> EntriesIn(size_t layer) const {
    ArchiveReader reader(AciFile::Open(PathOf(NameOf(layer)))->OpenLayer(), "the layer");
    std::vector<Entry> entries;
    for (Entry entry; reader.Next(entry);) entries.push_back(entry);
    return entries;
  }
};

ImageBuilder ThreeLayers() {
  ImageBuilder image;
  image.Platform(kAmd);
  image.Layer(TarBuilder().Dir("./", 0700).Dir("etc", 0700).File("etc/a", "a").File("etc/gone", "x").Build());
  image.Layer(TarBuilder().Whiteout("etc", "gone").File("b", "b").HardLink("c", "b").Build());
  image.Layer(TarBuilder().Dir("d").Opaque("etc").File("etc/b", "2").Build(), Compression::kZstd);
  image.Config("Cmd", std::vector<std::string>{"/b"});
  return image;
}

TEST_F(LayeredAcisTest, LastDependsOnTheOthersAndNamesEveryPath) {
  const auto made = Convert(ThreeLayers());
  ASSERT_THAT(made, SizeIs(3));
  const auto top = AciFile::Open(PathOf(NameOf(2)));
  EXPECT_EQ(top->manifest().name, "example.com/app");
  ASSERT_THAT(top->manifest().dependencies, SizeIs(2));
  for (size_t i = 0; i < 2; ++i) {
    const auto lower = AciFile::Open(PathOf(NameOf(i)));
    const AciDependency& dependency = top->manifest().dependencies[i];
    EXPECT_EQ(lower->manifest().name, dependency.image_name);
    EXPECT_EQ(lower->manifest().name,
              "example.com/app-sha256_" + ThreeLayers().Build().manifest.layers[i].digest.hex());
    EXPECT_EQ(lower->manifest().labels, dependency.labels);
    EXPECT_EQ("sha512-" + lower->image_id().hex(), dependency.image_id);
    EXPECT_EQ(lower->tar_bytes(), dependency.size);
    EXPECT_FALSE(lower->manifest().app);
  }
  EXPECT_THAT(top->manifest().path_whitelist, ElementsAre("/b", "/c", "/d", "/dev", "/dev/fd", "/dev/stderr",
                                                          "/dev/stdin", "/dev/stdout", "/etc", "/etc/b"));
  EXPECT_THAT(NamesIn(1), ElementsAre("b", "c", "./"));
}

TEST_F(LayeredAcisTest, LowerOnesDoNotDependOnWhatIsAbove) {
  const auto before = Convert(ThreeLayers());
  ImageBuilder other = ThreeLayers();
  const auto after = Convert(other.Layer(TarBuilder().Whiteout("", "etc").Build()).Config("User", "x"));
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(before[i].result.image_id, after[i].result.image_id);
}

TEST_F(LayeredAcisTest, TreeIsTheSame) {
  ExpectSameTree(ThreeLayers());
  ExpectSameTree(ImageBuilder().Platform(kAmd));
  ExpectSameTree(ImageBuilder().Platform(kAmd).Layer(TarBuilder().File("a", "1").File("a", "2").Build()));
  ImageBuilder removed;  // and made again, but only implied
  removed.Platform(kAmd).Layer(TarBuilder().Dir("d", 0700).File("d/a", "1").File("f", "").Build());
  removed.Layer(TarBuilder().Whiteout("", "d").File("f/x", "").Build());
  ExpectSameTree(removed.Layer(TarBuilder().File("d/b", "2").Build()));
  ImageBuilder merged;  // what a symbolic link in a lower layer leads to is another directory
  merged.Platform(kAmd).Layer(TarBuilder().Dir("usr/lib").Symlink("lib", "usr/lib").Build());
  ExpectSameTree(merged.Layer(TarBuilder().File("lib/z", "").CharDevice("dev/fd", 1, 3).Build()));
}

TEST_F(LayeredAcisTest, HardLinksIntoLowerLayersStayOneFile) {
  ImageBuilder image;
  image.Platform(kAmd).Layer(TarBuilder().File("a", "text").HardLink("a2", "a").File("x", "").Build());
  image.Layer(TarBuilder().HardLink("b", "a2").HardLink("c", "b").Whiteout("", "a").Build());
  image.Layer(TarBuilder().Whiteout("", "x").Build());
  ExpectSameTree(image);
  EXPECT_THAT(NamesIn(1), Contains("a2"));
  EXPECT_THAT(NamesIn(1), Not(Contains("a")));
  ImageBuilder many;
  many.Platform(kAmd).Layer(TarBuilder().File("a", "text").Build());
  for (size_t i = 0; i <= kMaxLayersWithLowerLinks; ++i)
    many.Layer(TarBuilder().HardLink("b" + std::to_string(i), "a").Build());
  EXPECT_EQ(CaughtError([&] { Convert(many); }).kind(), ErrorKind::kUnsupported);
}

TEST_F(LayeredAcisTest, WhatNoLayerDatesHasTheTimeThatWasAskedFor) {
  ImageBuilder image;
  image.Platform(kAmd).Layer(TarBuilder().Dir("dated").File("a/b/c", "").Build());
  image.Layer(TarBuilder().File("a/d", "").Build());
  const auto at = [](const std::vector<Entry>& entries) {
    std::map<std::string, int64_t> times;
    for (const Entry& entry : entries) times[entry.name] = entry.mtime.seconds;
    return times;
  };
  Convert(image, 1234);
  const auto base = at(EntriesIn(0)), top = at(EntriesIn(1));
  EXPECT_EQ(base.at("dated/"), 1'000'000'000);
  EXPECT_EQ(base.at("a/b/c"), 1'000'000'000);
  for (const char* path : {"./", "a/", "a/b/"}) EXPECT_EQ(base.at(path), 1234) << path;
  for (const char* path : {"./", "dev/", "dev/fd"}) EXPECT_EQ(top.at(path), 1234) << path;
  Convert(image);
  EXPECT_EQ(at(EntriesIn(0)).at("a/"), 0);
}

// Of the tree of all layers: what one hides and another brings back counts, and what lies in it does not.
TEST_F(LayeredAcisTest, WhitelistNamesWhatIsLeftInTheOrderOfTheTree) {
  ImageBuilder image;
  image.Platform(kAmd).Layer(TarBuilder().Dir("a").File("a/x", "").File("a-b", "").File("f/gone", "").Build());
  image.Layer(TarBuilder().Whiteout("", "a").File("f", "now a file").Build());
  image.Layer(TarBuilder().Dir("a").File("a/y", "").Dir("dev").Build());
  Convert(image);
  EXPECT_THAT(AciFile::Open(PathOf(NameOf(2)))->manifest().path_whitelist,
              ElementsAre("/a", "/a/y", "/a-b", "/dev", "/dev/fd", "/dev/stderr", "/dev/stdin", "/dev/stdout", "/f"));
  ExpectSameTree(image);
}

TEST_F(LayeredAcisTest, DevThatIsNoDirectoryIsUnsupported) {
  ImageBuilder image;
  EXPECT_EQ(CaughtError([&] { Convert(image.Layer(TarBuilder().Symlink("dev", "/tmp").Build())); }).kind(),
            ErrorKind::kUnsupported);
}

TEST_F(LayeredAcisTest, NameThatIsNotUtf8CanOnlyStay) {
  ImageBuilder image;
  image.Platform(kAmd).Layer(TarBuilder().File("\xff", "").File("a", "").Build());
  ExpectSameTree(image);
  image.Layer(TarBuilder().Whiteout("", "a").Build());
  EXPECT_EQ(CaughtError([&] { Convert(image); }).kind(), ErrorKind::kUnsupported);
}

TEST_F(LayeredAcisTest, ImageComesBackWhenItsLayersAreBesideIt) {
  for (const bool docker : {false, true}) {
    ImageBuilder image(docker);
    image.Platform(kAmd).Layer(TarBuilder().File("a", "1").Build(), Compression::kNone);
    image.Layer(TarBuilder().File("a", "2").Build()).Config("Cmd", std::vector<std::string>{"/b"});
    KeepLayers(image);
    Convert(image);
    const auto aci = Open(1);
    EXPECT_TRUE(aci->is_original());
    EXPECT_EQ(aci->image().manifest_bytes, image.ManifestBytes());
    EXPECT_EQ(aci->image().config_bytes, image.ConfigBytes());
    EXPECT_THAT(aci->notes(), IsEmpty());
    for (const Descriptor& layer : aci->image().manifest.layers)
      EXPECT_EQ(Digest::Of(Drain(*aci->Open(layer, "layer"), 1 << 20, "layer")), layer.digest);
  }
}

TEST_F(LayeredAcisTest, WithoutItsLayersOnlyConfigurationAndTreeComeBack) {
  Convert(ThreeLayers());
  const auto aci = Open(2);
  EXPECT_FALSE(aci->is_original());
  EXPECT_THAT(aci->notes(), ElementsAre(HasSubstr("not beside it")));
  EXPECT_EQ(aci->image().config.cmd, ThreeLayers().Build().config.cmd);
}

// The app is the same, the tree is not.
TEST_F(LayeredAcisTest, OtherLayersBesideItAreCorrupt) {
  ImageBuilder other;
  other.Platform(kAmd).Layer(TarBuilder().File("b", "evil").Build()).Config("Cmd", std::vector<std::string>{"/b"});
  KeepLayers(other);
  AciManifest manifest = ToAciManifest(other.Build(), {.name = "example.com/app"});
  manifest.annotations.emplace_back(kManifestAnnotation, other.ManifestBytes());
  Write(NameOf(0), TarBuilder().File("manifest", manifest.ToJson()).Dir("rootfs").File("rootfs/b", "good").Build());
  const Error error = CaughtError([&] { Open(0); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_THAT(error.message(), HasSubstr("another tree"));
}

// GANTRY_SEED chooses others; a failure prints the stack.
TEST_F(LayeredAcisTest, RandomStacksKeepTheirTree) {
  const char* const chosen = std::getenv("GANTRY_SEED");
  const auto seed = static_cast<uint32_t>(chosen == nullptr ? 20260102 : std::strtoul(chosen, nullptr, 10));
  int compared = 0;
  for (uint32_t i = 0; i < 500 && !HasFailure(); ++i) {
    std::mt19937 random(seed + i);
    std::vector<gantry::testing::ModelLayer> layers;
    for (uint32_t n = 1 + random() % 4; n > 0; --n) layers.push_back(gantry::testing::RandomLayer(random));
    ImageBuilder image;
    image.Platform(kAmd);
    for (const auto& layer : layers) image.Layer(gantry::testing::TarOf(layer), Compression::kNone);
    std::optional<Digest> tree;
    try {
      tree = TreeOf(image);
    } catch (const Error&) {
      // Both must refuse it.
    }
    try {
      const auto made = Convert(image);
      const auto aci = Open(made.size() - 1);
      EXPECT_TRUE(tree.has_value() && TreeOf(aci->image(), *aci) == *tree) << "another tree";
      ++compared;
    } catch (const Error& error) {
      const bool dev = error.kind() == ErrorKind::kUnsupported && error.message().starts_with("'/dev'");
      EXPECT_TRUE(!tree.has_value() || dev) << error.message();
    }
    if (HasFailure())
      std::cerr << "GANTRY_SEED=" << seed + i << "\n" << gantry::testing::Describe(layers);
  }
  EXPECT_GT(compared, 120);
}

}  // namespace
}  // namespace gantry::image
