#include "libimage/layer/layer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>

#include "libimage/base/error.h"
#include "libimage/layer/compression.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TarBuilder;
using Kind = LayerEntry::Kind;
using std::string_literals::operator""s;

LayerEntry Of(std::string name, EntryType type = EntryType::kFile) {
  return Classify({.name = std::move(name), .type = type});
}

std::string PathOf(std::string name) {
  const LayerEntry entry = Of(std::move(name));
  return entry.path ? entry.path->str() : "(root)";
}

TEST(ClassifyTest, WhatDoesNotCountIsStripped) {
  for (const std::string& name : {"a/b"s, "/a/b"s, "./a/b"s, "a//b"s, "a/./b"s, "a/b/"s, "//a///b//"s, "././a/b/."s}) {
    EXPECT_EQ(Of(name).kind, Kind::kPath) << name;
    EXPECT_EQ(PathOf(name), "a/b") << name;
  }
}

TEST(ClassifyTest, TheRootIsADirectoryOrCorrupt) {
  for (const std::string& name : {""s, "/"s, "."s, "./"s, "/./"s, "//"s}) {
    EXPECT_FALSE(Of(name, EntryType::kDirectory).path) << name;
    for (const EntryType type : {EntryType::kFile, EntryType::kSymlink, EntryType::kHardLink, EntryType::kFifo}) {
      EXPECT_EQ(CaughtError([&] { Of(name, type); }).kind(), ErrorKind::kCorrupt) << name;
    }
  }
}

TEST(ClassifyTest, NamesThatLeadElsewhereAreCorrupt) {
  for (const std::string& name : {".."s, "../a"s, "a/.."s, "a/../b"s, "/.."s, "a/b/../../../etc/passwd"s, "a\0b"s,
                                  std::string(256, 'n'), "a/"s + std::string(256, 'n')}) {
    EXPECT_EQ(CaughtError([&] { Of(name); }).kind(), ErrorKind::kCorrupt) << name;
  }
}

TEST(ClassifyTest, DepthIsBounded) {
  std::string deep;
  for (size_t i = 0; i < kMaxPathDepth; ++i) deep += "d/";
  EXPECT_EQ(PathOf(deep).size(), 2 * kMaxPathDepth - 1);
  EXPECT_EQ(CaughtError([&] { Of(deep + "d"); }).kind(), ErrorKind::kCorrupt);
}

TEST(ClassifyTest, DotsInNamesAreNames) {
  for (const std::string& name : {"..."s, "a..b"s, "a/..c"s, ".hidden"s, "x.wh.y"s, "a/b.wh."s, ".wh"s}) {
    EXPECT_EQ(Of(name).kind, Kind::kPath) << name;
    EXPECT_EQ(PathOf(name), name);
  }
}

TEST(ClassifyTest, Whiteouts) {
  EXPECT_EQ(Of(".wh.a").kind, Kind::kWhiteout);
  EXPECT_EQ(PathOf(".wh.a"), "a");
  EXPECT_EQ(PathOf("./d/.wh.a"), "d/a");
  EXPECT_EQ(PathOf("d/.wh..a"), "d/.a");
  EXPECT_EQ(PathOf("d/.wh...."), "d/...");
  EXPECT_EQ(Classify({.name = ".wh.a", .type = EntryType::kHardLink, .link = ".wh..wh.aufs"}).kind, Kind::kWhiteout);
}

TEST(ClassifyTest, WhiteoutsOfNothingAreCorrupt) {
  for (const std::string& name : {".wh."s, "a/.wh."s, ".wh.."s, ".wh..."s, "a/.wh.../"s}) {
    EXPECT_EQ(CaughtError([&] { Of(name); }).kind(), ErrorKind::kCorrupt) << name;
  }
}

TEST(ClassifyTest, OpaqueDirectories) {
  EXPECT_EQ(Of("a/b/.wh..wh..opq").kind, Kind::kOpaque);
  EXPECT_EQ(PathOf("a/b/.wh..wh..opq"), "a/b");
  EXPECT_EQ(Of("./.wh..wh..opq").kind, Kind::kOpaque);
  EXPECT_EQ(PathOf(".wh..wh..opq"), "(root)");
}

TEST(ClassifyTest, AufsBookkeepingIsIgnored) {
  for (const std::string& name : {".wh..wh.aufs"s, ".wh..wh.orph/"s, ".wh..wh.plnk"s, ".wh..wh.plnk/123.456"s}) {
    EXPECT_EQ(Of(name).kind, Kind::kIgnored) << name;
  }
}

TEST(ClassifyTest, PathsThroughAWhiteoutAreCorrupt) {
  EXPECT_EQ(CaughtError([&] { Of(".wh.a/b"); }).kind(), ErrorKind::kCorrupt);
}

TEST(HardLinkTargetTest, IsFromTheRootAndStaysInside) {
  EXPECT_EQ(HardLinkTarget("/a/b").str(), "a/b");
  EXPECT_EQ(HardLinkTarget("./a/b").str(), "a/b");
  for (const std::string& link : {""s, "/"s, "../a"s, "a/../../b"s}) {
    EXPECT_EQ(CaughtError([&] { HardLinkTarget(link); }).kind(), ErrorKind::kCorrupt) << link;
  }
}

class MemoryBlobs : public Blobs {
 public:
  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view) const override {
    return StringSource(blobs_.at(blob.digest));
  }
  Digest Put(std::string bytes) {
    Digest digest = Digest::Of(bytes);
    blobs_.emplace(digest, std::move(bytes));
    return digest;
  }

 private:
  std::map<Digest, std::string> blobs_;
};

std::string Packed(std::string_view bytes, Compression compression) {
  std::string out;
  const auto into = StringSink(out);
  const auto sink = Compress(*into, {.compression = compression});
  sink->Write(AsBytes(bytes));
  sink->Finish();
  return out;
}

class OpenLayerTest : public ::testing::Test {
 protected:
  // An image of one layer, `blob` declared as `media_type`.
  void Open(std::string blob, std::string_view media_type, const std::optional<Digest>& diff_id = std::nullopt) {
    const uint64_t size = blob.size();
    const Digest digest = blobs_.Put(std::move(blob));
    Image image{.descriptor = {.media_type = std::string(kOciManifestType), .digest = digest},
                .manifest = {.config = {.digest = digest}}};
    image.manifest.layers.push_back({.media_type = std::string(media_type), .digest = digest, .size = size});
    image.config.diff_ids.push_back(diff_id.value_or(Digest::Of(tar_)));
    const auto source = free_from_ ? OpenLayerAmong(blobs_, image, 0, [this] { return (*free_from_)-- <= 0; })
                                   : OpenLayer(blobs_, image, 0);
    EXPECT_EQ(Drain(*source, 1 << 24, "layer"), tar_);
  }

  std::atomic<int>* free_from_ = nullptr;  // after how many questions there is a processor for more threads
  std::string tar_ = TarBuilder().File("a", "a").Build();
  MemoryBlobs blobs_;
};

TEST_F(OpenLayerTest, OpensEveryKindOfLayer) {
  Open(tar_, kOciLayerType);
  Open(Packed(tar_, Compression::kGzip), kOciLayerGzipType);
  Open(Packed(tar_, Compression::kGzip), kDockerLayerGzipType);
  Open(Packed(tar_, Compression::kZstd), kOciLayerZstdType);
}

TEST_F(OpenLayerTest, AMediaTypeThatLiesIsCorrupt) {
  EXPECT_EQ(CaughtError([&] { Open(tar_, kOciLayerGzipType); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { Open(Packed(tar_, Compression::kZstd), kOciLayerGzipType); }).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { Open(Packed(tar_, Compression::kGzip), kOciLayerType); }).kind(), ErrorKind::kCorrupt);
}

TEST_F(OpenLayerTest, AWrongDiffIdIsCorruptAtTheEnd) {
  const Error error =
      CaughtError([&] { Open(Packed(tar_, Compression::kGzip), kOciLayerGzipType, Digest::Of("something else")); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_NE(error.message().find("layer 1 of 1"), std::string::npos) << error.message();
}

TEST_F(OpenLayerTest, ThreadsThatJoinLateChangeNothing) {
  tar_ = TarBuilder().File("a", std::string(5'000'000, 'a')).Build();
  for (const int free_from : {0, 1, 2, 7, 1'000'000}) {
    std::atomic<int> right = free_from, wrong = free_from;
    free_from_ = &right;
    Open(Packed(tar_, Compression::kGzip), kOciLayerGzipType);
    free_from_ = &wrong;
    EXPECT_EQ(CaughtError([&] {
                Open(Packed(tar_, Compression::kGzip), kOciLayerGzipType, Digest::Of("something else"));
              }).kind(),
              ErrorKind::kCorrupt);
  }
}

TEST_F(OpenLayerTest, WhatIsNoTarLayerIsUnsupported) {
  EXPECT_EQ(CaughtError([&] { Open(tar_, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"); }).kind(),
            ErrorKind::kUnsupported);
  EXPECT_EQ(CaughtError([&] { Open(tar_, "application/vnd.in-toto+json"); }).kind(), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace gantry::image
