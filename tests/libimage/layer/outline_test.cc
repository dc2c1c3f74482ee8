#include "libimage/layer/outline.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <random>

#include "libimage/base/error.h"
#include "libimage/layer/listing.h"
#include "libimage/layer/rootfs_digest.h"
#include "tests/libimage/layer/flatten_model.h"
#include "tests/support/image_builder.h"
#include "tests/support/tar_builder.h"

namespace gantry::image {
namespace {

using gantry::testing::ImageBuilder;
using gantry::testing::MemoryBlobs;
using gantry::testing::TarBuilder;

std::string OutlineOf(const std::string& tar) {
  std::string out;
  const auto sink = StringSink(out);
  OutlineWriter writer(*sink);
  ArchiveReader reader(StringSource(tar), "a layer");
  for (Entry entry; reader.Next(entry);) {
    writer.Add(entry);
    uint64_t end = 0, offset = 0;
    for (std::span<const std::byte> bytes; reader.ReadPiece(offset, bytes); end = offset + bytes.size()) {
      writer.WriteZeros(offset - end);
      writer.Write(bytes);
    }
    writer.WriteZeros(entry.size - end);
  }
  writer.Finish();
  return out;
}

Digest ByOutlines(const std::vector<std::string>& tars) {
  std::vector<std::string> outlines;
  for (const std::string& tar : tars) outlines.push_back(OutlineOf(tar));
  return RootfsOfOutlines(outlines.size(), [&](size_t layer) { return StringSource(outlines[layer]); });
}

Digest ByLayers(const std::vector<std::string>& tars) {
  ImageBuilder image;
  for (const std::string& tar : tars) image.Layer(tar, Compression::kNone);
  return RootfsDigest(ListTree(image.Build(), MemoryBlobs(image)));
}

TEST(OutlineTest, SaysWhatTheLayersAmountTo) {
  const std::string large(300'000, 'x');
  TarBuilder base;
  base.Dir("./", 0700).Dir("etc", 01755).File("etc/a", large, 04755, 5'000'000, 7).File("empty", "");
  base.HardLink("b", "etc/a").Symlink("link", "/target").CharDevice("null", 1, 3).Fifo("pipe").File("\xff\xfe", "raw");
  base.Pax({{"SCHILY.xattr.user.a", std::string("\0\xff=", 3)}}).File("xattr", "x");
  base.Pax({{"GNU.sparse.size", "20"}, {"GNU.sparse.numblocks", "2"}, {"GNU.sparse.map", "0,1,10,1"}});
  base.File("sparse", "ab");
  TarBuilder top;
  top.Whiteout("", "b")
      .Opaque("etc")
      .File("etc/a", "new")
      .HardLink("again", "xattr")
      .File("twice", "1")
      .File("twice", "2");
  EXPECT_EQ(ByOutlines({base.Build(), top.Build()}), ByLayers({base.Build(), top.Build()}));
  EXPECT_EQ(ByOutlines({}), ByLayers({}));
  EXPECT_NE(ByOutlines({base.Build()}), ByOutlines({base.Build(), top.Build()}));
}

TEST(OutlineTest, IsSmall) {
  EXPECT_LT(OutlineOf(TarBuilder().File("a", std::string(1 << 20, 'x')).Build()).size(), 4096U);
}

// GANTRY_SEED chooses others; a failure prints the stack.
TEST(OutlineTest, RandomStacksHaveTheSameDigest) {
  const char* const chosen = std::getenv("GANTRY_SEED");
  const auto seed = static_cast<uint32_t>(chosen == nullptr ? 20260103 : std::strtoul(chosen, nullptr, 10));
  int compared = 0;
  for (uint32_t i = 0; i < 500 && !HasFailure(); ++i) {
    std::mt19937 random(seed + i);
    std::vector<gantry::testing::ModelLayer> layers;
    std::vector<std::string> tars;
    for (uint32_t n = 1 + random() % 4; n > 0; --n) {
      layers.push_back(gantry::testing::RandomLayer(random));
      tars.push_back(gantry::testing::TarOf(layers.back()));
    }
    std::optional<Digest> tree, outlined;
    try {
      tree = ByLayers(tars);
    } catch (const Error&) {
      // Both must refuse it.
    }
    try {
      outlined = ByOutlines(tars);
      ++compared;
    } catch (const Error&) {
    }
    EXPECT_EQ(outlined, tree);
    if (HasFailure())
      std::cerr << "GANTRY_SEED=" << seed + i << "\n" << gantry::testing::Describe(layers);
  }
  EXPECT_GT(compared, 120);
}

}  // namespace
}  // namespace gantry::image
