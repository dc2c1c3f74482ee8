#include "libimage/store/store_sink.h"

#include "tests/libimage/store/store_fixture.h"

namespace gantry::image {
namespace {

using gantry::testing::AddImage;
using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::ImageOf;
using gantry::testing::MemoryBlobs;
using gantry::testing::Problems;
using gantry::testing::StoreTest;
using gantry::testing::Vouched;

class StoreSinkTest : public StoreTest {
 protected:
  std::unique_ptr<ImageSink> Begin(bool overwrite = false) const { return IntoStore(Open(), overwrite); }
  static void Add(ImageSink& sink, const ImageBuilder& builder) {
    const Image image = builder.Build();
    const MemoryBlobs blobs(builder);
    for (const Descriptor& blob : {image.manifest.layers[0], image.manifest.config, image.descriptor})
      sink.AddBlob(blob, blobs.Open(blob, "blob"), "blob");
  }
  std::string NamedDigest(const std::string& name) const { return Open()->Resolve(name)->descriptor.digest.str(); }
};

TEST_F(StoreSinkTest, NamesAppearAtCommit) {
  const ImageBuilder image = ImageOf("layer");
  const auto sink = Begin();
  Add(*sink, image);
  sink->Vouch(Vouched(image));
  sink->Name(image.Build().descriptor, "example.com/a:1");
  EXPECT_TRUE(Open()->List().empty());
  sink->Commit();
  EXPECT_EQ(NamedDigest("example.com/a:1"), image.Build().descriptor.digest.str());
  EXPECT_EQ(Problems(*Open()), "");
}

TEST_F(StoreSinkTest, WhatNobodyVouchesForGetsNoName) {
  const ImageBuilder image = ImageOf("layer");
  const auto sink = Begin();
  Add(*sink, image);
  EXPECT_EQ(CaughtError([&] { sink->Name(image.Build().descriptor, "a"); }).kind(), ErrorKind::kFailed);
}

TEST_F(StoreSinkTest, NameMovesOnlyWhenAsked) {
  AddImage(*Open(), "a", ImageOf("old"));
  const ImageBuilder image = ImageOf("new");
  for (const bool overwrite : {false, true}) {
    const auto sink = Begin(overwrite);
    Add(*sink, image);
    sink->Vouch(Vouched(image));
    if (!overwrite) {
      EXPECT_EQ(CaughtError([&] { sink->Name(image.Build().descriptor, "a"); }).kind(), ErrorKind::kFailed);
      continue;
    }
    sink->Name(image.Build().descriptor, "a");
    sink->Commit();
  }
  EXPECT_EQ(NamedDigest("a"), image.Build().descriptor.digest.str());
}

TEST_F(StoreSinkTest, MadeBlobHasItsDigestForAName) {
  const auto store = Open();
  const auto blob = store->MakeBlob("a blob");
  blob->Write(AsBytes("made "));
  blob->Write(AsBytes("here"));
  blob->Finish();
  EXPECT_EQ(blob->digest(), Digest::Of("made here"));
  EXPECT_EQ(store->ReadBlob(blob->digest(), 100), "made here");
  store->MakeBlob("given up")->Write(AsBytes("x"));
  {
    const auto other = store->MakeBlob("a blob");
    other->Expect(Digest::Of("this"), "the blob");
    other->Write(AsBytes("that"));
    EXPECT_EQ(CaughtError([&] { other->Finish(); }).kind(), ErrorKind::kCorrupt);
    EXPECT_FALSE(store->HasBlob(Digest::Of("that")));
  }
  EXPECT_EQ(Open()->Leftovers().size(), 0U);
}

TEST_F(StoreSinkTest, CollectionLeavesAloneWhatHasNoNameYet) {
  const ImageBuilder image = ImageOf("layer");
  const auto sink = Begin();
  Add(*sink, image);
  Open()->Collect({});
  sink->Vouch(Vouched(image));
  sink->Name(image.Build().descriptor, "a");
  sink->Commit();
  EXPECT_EQ(Problems(*Open()), "");
}

}  // namespace
}  // namespace gantry::image
