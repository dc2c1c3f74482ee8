#include "libimage/convert/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "libimage/convert/fan_out.h"
#include "libimage/layer/compression.h"
#include "tests/libimage/convert/trusted_image.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::TarBuilder;
using gantry::testing::Trusted;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Aci {
  std::string bytes;  // of the file
  std::string tar;
  AciResult result;
  int opened = 0;
};

AciOptions Options(size_t threads = 1) {
  AciOptions options;
  options.naming.name = "example.com/app";
  options.threads = threads;
  return options;
}

Aci ToAci(const ImageBuilder& builder, const AciOptions& options) {
  Aci aci{{}, {}, {Digest::Of(""), 0, 0, {}}};
  const OpenOutput open = [&] {
    aci.bytes.clear();
    ++aci.opened;
    return StringSink(aci.bytes);
  };
  aci.result = ConvertToAci(Trusted(builder), MemoryBlobs(builder), open, options);
  aci.tar = Drain(*DecompressAny(StringSource(aci.bytes), "the ACI"), 1 << 28, "the ACI");
  return aci;
}

// Names in a tar in their order, with the targets of links.
std::vector<std::string> NamesIn(const std::string& tar) {
  ArchiveReader reader(StringSource(tar), "the ACI");
  std::vector<std::string> names;
  for (Entry entry; reader.Next(entry);) {
    while (entry.name.ends_with('/')) entry.name.pop_back();
    names.push_back(entry.link.empty() ? entry.name : entry.name + " -> " + entry.link);
  }
  return names;
}

ImageBuilder TwoLayers() {
  ImageBuilder image;
  image.Layer(TarBuilder().Dir("etc", 0700).File("etc/a", "a").File("etc/gone", "x").Build());
  image.Layer(TarBuilder().Whiteout("etc", "gone").File("b", std::string(300'000, 'b')).HardLink("c", "b").Build());
  return image;
}

TEST(ConvertToAciTest, ManifestComesFirstAndDirectoriesLast) {
  EXPECT_THAT(
      NamesIn(ToAci(TwoLayers(), Options()).tar),
      ElementsAre("manifest", "rootfs/b", "rootfs/c -> rootfs/b", "rootfs/etc/a", "rootfs/dev/fd -> /proc/self/fd",
                  "rootfs/dev/stderr -> /dev/console", "rootfs/dev/stdin -> /proc/self/fd/0",
                  "rootfs/dev/stdout -> /dev/console", "rootfs", "rootfs/dev", "rootfs/etc"));
}

TEST(ConvertToAciTest, ImageIdIsOfTheTarAndBytesDoNotDependOnThreads) {
  const Aci one = ToAci(TwoLayers(), Options());
  EXPECT_EQ(one.result.image_id, Digest::Of(one.tar, HashAlgorithm::kSha512));
  EXPECT_EQ(one.result.bytes, one.bytes.size());
  for (const size_t threads : {1, 2, 5}) EXPECT_EQ(ToAci(TwoLayers(), Options(threads)).bytes, one.bytes);
  AciOptions plain = Options(2);
  plain.compression = Compression::kNone;
  const Aci tar = ToAci(TwoLayers(), plain);
  EXPECT_EQ(tar.bytes, one.tar);
  EXPECT_EQ(tar.result.image_id, one.result.image_id);
}

TEST(ConvertToAciTest, EpochDatesOnlyWhatTheImageDoesNot) {
  AciOptions options = Options();
  options.epoch = 1234567890;
  ArchiveReader reader(StringSource(ToAci(TwoLayers(), options).tar), "the ACI");
  std::map<std::string, int64_t> times;
  for (Entry entry; reader.Next(entry);) times[entry.name] = entry.mtime.seconds;
  EXPECT_EQ(times.at("manifest"), 1234567890);
  EXPECT_EQ(times.at("rootfs/dev/stdin"), 1234567890);
  EXPECT_EQ(times.at("rootfs/b"), 1000000000);
  // No layer has an entry for the root.
  EXPECT_EQ(times.at("rootfs/"), 1234567890);
}

TEST(ConvertToAciTest, PathTwiceInALayerStartsTheOutputAnew) {
  for (const size_t threads : {1, 2}) {
    ImageBuilder image;
    image.Layer(TarBuilder().File("a", "first").File("b", std::string(100'000, 'b')).File("a", "last").Build());
    const Aci aci = ToAci(image, Options(threads));
    EXPECT_EQ(aci.opened, 2);
    EXPECT_THAT(aci.tar, HasSubstr("last"));
    EXPECT_EQ(aci.tar.find("first"), std::string::npos);
    EXPECT_EQ(aci.result.image_id, Digest::Of(aci.tar, HashAlgorithm::kSha512));
  }
}

TEST(ConvertToAciTest, DamagedLayerIsCorruptWithAnyThreads) {
  const ImageBuilder image = TwoLayers();
  for (const size_t threads : {1, 2}) {
    for (const Descriptor& layer : image.Build().manifest.layers) {
      MemoryBlobs blobs(image);
      blobs.Damage(layer.digest);
      std::string out;
      const Error error = CaughtError([&] {
        ConvertToAci(
            Trusted(image), blobs, [&] { return StringSink(out); }, Options(threads));
      });
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    }
  }
}

// A sink whose disk is full after some bytes.
class FullSink : public Sink {
 public:
  explicit FullSink(size_t room) : room_(room) {}
  void Write(std::span<const std::byte> bytes) override {
    if (bytes.size() > room_)
      throw Error(ErrorKind::kFailed, "no space left");
    room_ -= bytes.size();
  }
  void Finish() override {}

 private:
  size_t room_;
};

TEST(ConvertToAciTest, FullDiskIsToldWithAnyThreads) {
  ImageBuilder image;
  image.Layer(TarBuilder().File("a", std::string(20'000'000, 'a')).File("b", "b").Build());
  for (const size_t threads : {1, 3}) {
    for (const auto& [room, compression] : {std::pair<size_t, Compression>{0, Compression::kGzip},
                                            {100, Compression::kGzip},
                                            {0, Compression::kNone},
                                            {19'000'000, Compression::kNone}}) {
      AciOptions options = Options(threads);
      options.compression = compression;
      const Error error = CaughtError([&, space = room] {
        ConvertToAci(
            Trusted(image), MemoryBlobs(image), [&] { return std::make_unique<FullSink>(space); }, options);
      });
      EXPECT_EQ(error.message(), "no space left") << room;
    }
  }
}

TEST(ConvertToAciTest, DevThatIsNoDirectoryIsUnsupported) {
  ImageBuilder image;
  image.Layer(TarBuilder().Symlink("dev", "/tmp").Build());
  EXPECT_EQ(CaughtError([&] { ToAci(image, Options()); }).kind(), ErrorKind::kUnsupported);
}

TEST(FanOutTest, EverySinkGetsEverything) {
  std::string sent;
  std::string a;
  std::string b;
  const auto sink_a = StringSink(a);
  const auto sink_b = StringSink(b);
  const auto fan = FanOut({sink_a.get(), sink_b.get()});
  for (int i = 0; i < 5000; ++i) {
    const std::string piece(static_cast<size_t>(i % 1000), static_cast<char>('a' + i % 26));
    sent += piece;
    fan->Write(AsBytes(piece));
  }
  fan->Finish();
  EXPECT_EQ(a, sent);
  EXPECT_EQ(b, sent);
}

TEST(FanOutTest, CanBeGivenUpAtAnyTime) {
  std::string out;
  const auto sink = StringSink(out);
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{10} << 20}) {
    const auto fan = FanOut({sink.get()});
    fan->Write(AsBytes(std::string(bytes, 'x')));
  }
  FullSink full(100);
  const auto fan = FanOut({sink.get(), &full});
  EXPECT_THROW(
      {
        fan->Write(AsBytes(std::string(size_t{10} << 20, 'x')));
        fan->Finish();
      },
      Error);
}

}  // namespace
}  // namespace gantry::image
