// Conversion::Copy into a sink in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "libimage/convert/convert.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"
#include "tests/libimage/convert/memory_sink.h"
#include "tests/libimage/convert/trusted_image.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::MemorySink;
using gantry::testing::TarBuilder;
using gantry::testing::Trusted;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string Noise(size_t bytes) {
  std::string out;
  uint32_t state = 12345;
  while (out.size() < bytes) {
    state = state * 1664525 + 1013904223;
    out += static_cast<char>('a' + (state >> 24) % 20);
  }
  return out;
}

// A small layer, a large one, and the small one again.
ImageBuilder ThreeLayers(bool docker = false, Compression compression = Compression::kGzip) {
  const std::string small = TarBuilder().File("a", "a").Build();
  ImageBuilder image(docker);
  image.Layer(small, compression).Layer(TarBuilder().File("b", Noise(9'000'000)).Build(), compression);
  image.Layer(small, compression);
  return image;
}

CopyOptions To(Compression compression, size_t threads = 2) {
  CopyOptions options;
  options.compression = compression;
  options.threads = threads;
  return options;
}

Image Copied(const ImageBuilder& from, MemorySink& sink, const CopyOptions& options) {
  return Conversion::Copy(Trusted(from), MemoryBlobs(from), sink, options).image();
}

// Everything that the manifest names is there, and the layers are what the configuration says.
void ExpectSound(const Image& image, const MemorySink& sink) {
  EXPECT_EQ(sink.blobs.Get(image.descriptor.digest), image.manifest_bytes);
  EXPECT_EQ(sink.blobs.Get(image.manifest.config.digest), image.config_bytes);
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) Drain(*OpenLayer(sink.blobs, image, i), 1 << 28, "a layer");
}

TEST(CopyTest, ImageThatNeedsNoChangeKeepsItsBytes) {
  for (const bool docker : {false, true}) {
    const ImageBuilder image = ThreeLayers(docker);
    MemorySink sink;
    const Image copied = Copied(image, sink, {.preserve_digests = true});
    EXPECT_EQ(copied.manifest_bytes, image.ManifestBytes());
    ExpectSound(copied, sink);
    EXPECT_THAT(sink.order, SizeIs(4)) << "two layers, configuration, manifest";
    EXPECT_EQ(sink.order[3], copied.descriptor.digest) << "the manifest is last";
    EXPECT_THAT(sink.vouched, ElementsAre(copied.descriptor.digest));
  }
}

TEST(CopyTest, EveryKindBecomesEveryOther) {
  constexpr Compression kKinds[] = {Compression::kNone, Compression::kGzip, Compression::kZstd};
  for (const Compression from : kKinds) {
    const ImageBuilder image = ThreeLayers(false, from);
    for (const Compression to : kKinds) {
      MemorySink sink;
      const Image copied = Copied(image, sink, To(to));
      ExpectSound(copied, sink);
      EXPECT_EQ(copied.config_bytes, image.ConfigBytes());
      EXPECT_EQ(copied.manifest_bytes == image.ManifestBytes(), from == to);
      for (const Descriptor& layer : copied.manifest.layers) EXPECT_EQ(LayerCompression(layer.media_type), to);
      EXPECT_THAT(sink.order, SizeIs(4)) << "the layer that is there twice is made once";
    }
  }
}

TEST(CopyTest, LayersOfTheWantedKindAreCopiedWhateverTheLevel) {
  ImageBuilder image;
  image.Layer(TarBuilder().File("a", Noise(100'000)).Build(), Compression::kZstd);
  image.Layer(TarBuilder().File("b", Noise(100'000)).Build(), Compression::kGzip);
  CopyOptions options = To(Compression::kZstd);
  options.level = 19;
  MemorySink sink;
  const Image copied = Copied(image, sink, options);
  EXPECT_EQ(copied.manifest.layers[0], image.Build().manifest.layers[0]);
  EXPECT_NE(copied.manifest.layers[1].digest, image.Build().manifest.layers[1].digest);
  ExpectSound(copied, sink);
}

TEST(CopyTest, BytesDoNotDependOnThreads) {
  for (const auto& [kind, level] :
       {std::pair(Compression::kGzip, 0), {Compression::kGzip, 3}, {Compression::kZstd, 0}, {Compression::kZstd, 7}}) {
    const ImageBuilder image = ThreeLayers(false, Compression::kNone);
    std::string expected;
    for (const size_t threads : {1, 2, 3, 8}) {
      MemorySink sink;
      CopyOptions options = To(kind, threads);
      options.level = level;
      const Image copied = Copied(image, sink, options);
      if (threads == 1)
        expected = copied.manifest_bytes;
      EXPECT_EQ(copied.manifest_bytes, expected) << threads;
    }
  }
}

TEST(CopyTest, RelabelsBothWaysWithoutTouchingLayers) {
  for (const bool docker : {false, true}) {
    const ImageBuilder image = ThreeLayers(docker);
    CopyOptions options;
    options.manifest_type = docker ? kOciManifestType : kDockerManifestType;
    MemorySink sink;
    const Image copied = Copied(image, sink, options);
    ExpectSound(copied, sink);
    EXPECT_EQ(copied.manifest.media_type, *options.manifest_type);
    EXPECT_EQ(copied.manifest.config.media_type, docker ? kOciConfigType : kDockerConfigType);
    EXPECT_EQ(copied.config_bytes, image.ConfigBytes());
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(copied.manifest.layers[i].media_type, docker ? kOciLayerGzipType : kDockerLayerGzipType);
      EXPECT_EQ(copied.manifest.layers[i].digest, image.Build().manifest.layers[i].digest);
    }
    // And back.
    options.manifest_type = docker ? kDockerManifestType : kOciManifestType;
    MemorySink back;
    EXPECT_EQ(Conversion::Copy(Trusted(copied), sink.blobs, back, options).image().manifest, image.Build().manifest);
  }
}

TEST(CopyTest, DockerHoldsNoZstdUnlessItCameSo) {
  CopyOptions options;
  options.manifest_type = kDockerManifestType;
  MemorySink sink;
  const Error error = CaughtError([&] { Copied(ThreeLayers(false, Compression::kZstd), sink, options); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(error.hint(), HasSubstr("gzip"));
  EXPECT_EQ(CaughtError([&] { Copied(ThreeLayers(true), sink, To(Compression::kZstd)); }).kind(),
            ErrorKind::kUnsupported);
  EXPECT_THAT(sink.order, SizeIs(0)) << "known before anything is copied";
  const ImageBuilder zstd = ThreeLayers(true, Compression::kZstd);
  EXPECT_EQ(Copied(zstd, sink, options).manifest_bytes, zstd.ManifestBytes());
  options.compression = Compression::kGzip;
  EXPECT_EQ(Copied(ThreeLayers(false, Compression::kZstd), sink, options).manifest.layers[0].media_type,
            kDockerLayerGzipType);
}

TEST(CopyTest, PreservedDigestsForbidEveryChange) {
  MemorySink sink;
  CopyOptions options = To(Compression::kZstd);
  options.preserve_digests = true;
  EXPECT_THAT(CaughtError([&] { Copied(ThreeLayers(), sink, options); }).message(), HasSubstr("recompressed"));
  options = {.manifest_type = std::string(kDockerManifestType), .preserve_digests = true};
  EXPECT_THAT(CaughtError([&] { Copied(ThreeLayers(), sink, options); }).message(), HasSubstr("Docker"));
  MemorySink plain({.layers = Compression::kNone});
  EXPECT_EQ(CaughtError([&] { Copied(ThreeLayers(), plain, {.preserve_digests = true}); }).kind(),
            ErrorKind::kUnsupported);
}

TEST(CopyTest, FormOfTheSinkIsKeptTo) {
  MemorySink sink({.layers = Compression::kNone, .manifest_type = std::string(kDockerManifestType), .parallel = false});
  const Image copied = Copied(ThreeLayers(), sink, {.threads = 3});
  ExpectSound(copied, sink);
  EXPECT_EQ(copied.manifest.media_type, kDockerManifestType);
  EXPECT_EQ(copied.manifest.layers[1].digest, copied.config.diff_ids[1]);
  EXPECT_EQ(sink.order[0], copied.config.diff_ids[0]) << "one at a time, and base first";
  EXPECT_EQ(CaughtError([&] { Copied(ThreeLayers(), sink, To(Compression::kGzip)); }).kind(), ErrorKind::kUnsupported);
  CopyOptions oci;
  oci.manifest_type = kOciManifestType;
  EXPECT_EQ(CaughtError([&] { Copied(ThreeLayers(), sink, oci); }).kind(), ErrorKind::kUnsupported);
}

Image WithAnnotations(const ImageBuilder& builder) {
  Image image = builder.Build();
  image.manifest.annotations["org.example.a"] = "b";
  image.manifest.layers[0].annotations["org.example.toc"] = "of these bytes";
  return Image::FromBytes(image.manifest.ToJson(), {}, image.config_bytes);
}

TEST(CopyTest, AnnotationsStayWhereThereIsRoomForThem) {
  const Image image = WithAnnotations(ThreeLayers());
  const MemoryBlobs blobs(ThreeLayers());
  std::vector<std::string> notes;
  CopyOptions options = To(Compression::kZstd);
  options.note = [&](std::string_view note) { notes.emplace_back(note); };
  MemorySink sink;
  const Image zstd = Conversion::Copy(Trusted(image), blobs, sink, options).image();
  EXPECT_EQ(zstd.manifest.annotations, image.manifest.annotations);
  EXPECT_TRUE(zstd.manifest.layers[0].annotations.empty()) << "they told of the old bytes";
  EXPECT_THAT(notes, SizeIs(0));
  options.compression.reset();
  options.manifest_type = kDockerManifestType;
  const Image docker = Conversion::Copy(Trusted(image), blobs, sink, options).image();
  EXPECT_TRUE(docker.manifest.annotations.empty());
  EXPECT_TRUE(docker.manifest.layers[0].annotations.empty());
  EXPECT_THAT(notes, ElementsAre(HasSubstr("annotations")));
}

TEST(CopyTest, ForeignLayerMayBeElsewhereUntilItIsRecompressed) {
  Image image = ThreeLayers(true).Build();
  for (Descriptor& layer : image.manifest.layers) {
    layer.media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    layer.urls = {"https://example.com/layer"};
  }
  image = Image::FromBytes(image.manifest.ToJson(), {}, image.config_bytes);
  MemoryBlobs blobs(ThreeLayers(true));
  blobs.Remove(image.manifest.layers[1].digest);
  CopyOptions options;
  options.manifest_type = kOciManifestType;
  MemorySink sink;
  const Image oci = Conversion::Copy(Trusted(image), blobs, sink, options).image();
  EXPECT_EQ(oci.manifest.layers[1].media_type, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
  EXPECT_EQ(oci.manifest.layers[1].urls, image.manifest.layers[1].urls);
  options.compression = Compression::kZstd;
  EXPECT_EQ(CaughtError([&] { Conversion::Copy(Trusted(image), blobs, sink, options); }).kind(), ErrorKind::kNotFound);
  const Image zstd = Conversion::Copy(Trusted(image), MemoryBlobs(ThreeLayers(true)), sink, options).image();
  EXPECT_EQ(zstd.manifest.layers[1].media_type, kOciLayerZstdType) << "other bytes than those at the URL";
  EXPECT_TRUE(zstd.manifest.layers[1].urls.empty());
}

TEST(CopyTest, DamageIsFoundWhetherCopiedOrRecompressed) {
  for (const bool recompress : {false, true}) {
    const ImageBuilder image = ThreeLayers();
    MemoryBlobs blobs(image);
    blobs.Damage(image.Build().manifest.layers[1].digest);
    MemorySink sink;
    const CopyOptions options = recompress ? To(Compression::kZstd) : CopyOptions();
    EXPECT_EQ(CaughtError([&] { Conversion::Copy(Trusted(image), blobs, sink, options); }).kind(), ErrorKind::kCorrupt);
    EXPECT_THAT(sink.vouched, SizeIs(0));
  }
}

TEST(CopyTest, WrongDiffIdIsFoundWhenRecompressing) {
  const ImageBuilder builder = ThreeLayers();
  Image image = builder.Build();
  const std::string last = image.config.diff_ids[2].hex();
  std::string config = image.config_bytes;
  config.replace(config.rfind(last), last.size(), Digest::Of("another").hex());
  image.manifest.config.digest = Digest::Of(config);
  image = Image::FromBytes(image.manifest.ToJson(), {}, config);
  for (const Compression to : {Compression::kZstd, Compression::kNone}) {
    MemorySink sink;
    EXPECT_EQ(CaughtError([&] { Conversion::Copy(Trusted(image), MemoryBlobs(builder), sink, To(to)); }).kind(),
              ErrorKind::kCorrupt)
        << "although the same blob has its right diff ID as the first layer";
    EXPECT_THAT(sink.vouched, SizeIs(0));
  }
}

TEST(SquashTest, OneLayerHoldsWhatAllAmountTo) {
  const ImageBuilder builder = ImageBuilder()
                                   .Layer(TarBuilder().Dir("d").File("d/low", "1").File("d/gone", "2").Build())
                                   .Layer(TarBuilder().Whiteout("d", "gone").File("d/up", "3").Build())
                                   .Config("Cmd", std::vector<std::string>{"/bin/true"});
  std::vector<std::string> manifests;
  for (const size_t threads : {1, 2, 3, 8}) {
    MemorySink sink;
    const Image squashed =
        Conversion::Squash(Trusted(builder), MemoryBlobs(builder), sink, {.threads = threads}, 1).image();
    ExpectSound(squashed, sink);
    ASSERT_THAT(squashed.manifest.layers, SizeIs(1));
    EXPECT_EQ(squashed.config.cmd, builder.Build().config.cmd);
    ASSERT_THAT(squashed.config.history, SizeIs(1));
    EXPECT_EQ(squashed.config.history[0].created, "1970-01-01T00:00:01Z");
    ArchiveReader reader(OpenLayer(sink.blobs, squashed, 0), "layer");
    std::vector<std::string> names;
    for (Entry entry; reader.Next(entry);) names.push_back(entry.name);
    EXPECT_THAT(names, ElementsAre("d/up", "d/low", "./", "d/"));
    manifests.push_back(squashed.manifest_bytes);
  }
  EXPECT_THAT(manifests, ::testing::Each(manifests.front()));
}

TEST(SquashTest, NoDigestIsPreserved) {
  MemorySink sink;
  const ImageBuilder builder = ThreeLayers();
  EXPECT_EQ(CaughtError([&] {
              Conversion::Squash(Trusted(builder), MemoryBlobs(builder), sink, {.preserve_digests = true}, 0);
            }).kind(),
            ErrorKind::kUnsupported);
}

TEST(CopyTest, TrustIsCarriedOver) {
  MemorySink sink;
  const ImageBuilder image = ThreeLayers();
  const VerifiedImage source = Trusted(image);
  EXPECT_EQ(Conversion::Copy(source, MemoryBlobs(image), sink, {}).vouched_by(), "a test");
  EXPECT_EQ(Conversion::Copy(source, MemoryBlobs(image), sink, To(Compression::kNone)).vouched_by(),
            "a test; converted from " + source.image().descriptor.digest.str());
}

}  // namespace
}  // namespace gantry::image
