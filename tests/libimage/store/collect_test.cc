#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libimage/base/process.h"
#include "tests/libimage/store/store_fixture.h"

namespace gantry::image {
namespace {

using gantry::testing::AddBlobs;
using gantry::testing::AddBytes;
using gantry::testing::AddImage;
using gantry::testing::CaughtError;
using gantry::testing::ImageBuilder;
using gantry::testing::ImageOf;
using gantry::testing::Problems;
using gantry::testing::StoreTest;
using ::testing::IsEmpty;

class CollectTest : public StoreTest {
 protected:
  // By a Store of its own, so that no lease outlives it.
  void Add(const std::string& bytes) const { AddBytes(*Open(), bytes); }
  CollectResult Collect(const CollectOptions& options = {}) const { return Open()->Collect(options); }
  bool Has(const std::string& bytes) const { return Open()->HasBlob(Digest::Of(bytes)); }

  // A process that leases something, is in the middle of a layer, and waits to be killed.
  Process Renderer(const std::string& leased) const {
    Pipe ready = MakePipe();
    Process child = Process::Fork([&] {
      const auto store = Open();
      const auto lease = store->NewLease();
      lease->Add({Digest::Of(leased)});
      const auto layer = store->AddLayer(Digest::Of("layer"), "");
      layer->dir().MakeDirs(RelPath::Parse("a/b"));
      WriteFull(ready.write.get(), AsBytes("x"), "pipe");
      pause();
      return 0;
    });
    std::byte byte{};
    EXPECT_EQ(ReadFull(ready.read.get(), {&byte, 1}, "pipe"), 1U);
    return child;
  }
};

TEST_F(CollectTest, RemovesWhatNoNameNeedsAndNothingElse) {
  {
    const auto store = Open();
    AddImage(*store, "keep:1", ImageOf("kept layer"));
    AddImage(*store, "drop:1", ImageOf("dropped layer"));
    store->AddSignature(Digest::Of(ImageOf("kept layer").ManifestBytes()), "kept");
    store->AddSignature(Digest::Of(ImageOf("dropped layer").ManifestBytes()), "dropped");
    store->AddLayer(Digest::Of("kept layer"), "")->Commit();
    store->AddLayer(Digest::Of("dropped layer"), "u1000")->Commit();
    ASSERT_TRUE(store->RemoveName("drop:1"));
  }
  const CollectResult result = Collect();
  EXPECT_EQ(result.blobs, 3U);
  EXPECT_EQ(result.layers, 1U);
  EXPECT_EQ(result.signatures, 1U);
  EXPECT_EQ(result.leftovers, 0U);
  const ImageBuilder dropped = ImageOf("dropped layer");
  EXPECT_EQ(result.bytes, dropped.ManifestBytes().size() + dropped.ConfigBytes().size() + 13);
  const auto store = Open();
  EXPECT_EQ(Problems(*store), "");
  EXPECT_TRUE(store->RenderedLayer(Digest::Of("kept layer"), ""));
  EXPECT_FALSE(store->RenderedLayer(Digest::Of("dropped layer"), "u1000"));
  EXPECT_EQ(store->Signatures(Digest::Of(ImageOf("kept layer").ManifestBytes())).size(), 1U);
  EXPECT_THAT(RootDir().OpenDir(RelPath::Parse("tmp")).List(), IsEmpty());
  EXPECT_EQ(RootDir().OpenDir(RelPath::Parse("layers")).List().size(), 1U);
}

TEST_F(CollectTest, DryRunTellsAndRemovesNothing) {
  Add("garbage");
  EXPECT_EQ(Collect({.dry_run = true}).blobs, 1U);
  EXPECT_TRUE(Has("garbage"));
  EXPECT_EQ(Collect().blobs, 1U);
  EXPECT_FALSE(Has("garbage"));
}

TEST_F(CollectTest, YoungGarbageIsSparedOnRequest) {
  Add("garbage");
  Open()->AddLayer(Digest::Of("layer"), "")->Commit();
  Open()->AddSignature(Digest::Of("manifest"), "signature");
  const CollectResult spared = Collect({.keep_seconds = 3600});
  EXPECT_EQ(spared.blobs + spared.layers + spared.signatures, 0U);
  const CollectResult all = Collect();
  EXPECT_EQ(all.blobs + all.layers + all.signatures, 3U);
}

TEST_F(CollectTest, LeaseProtectsBlobsManifestsAndLayersUntilItEnds) {
  {
    const auto store = Open();
    AddBlobs(*store, ImageOf("of a manifest"));
    AddBytes(*store, "single");
    store->AddLayer(Digest::Of("diff"), "")->Commit();
    store->AddLayer(Digest::Of("of a manifest"), "")->Commit();
  }
  const auto holder = Open();
  auto lease = holder->NewLease();
  lease->Add({Digest::Of(ImageOf("of a manifest").ManifestBytes()), Digest::Of("single")});
  lease->Add({Digest::Of("diff"), Digest::Of("single")});
  const CollectResult none = Collect();
  EXPECT_EQ(none.blobs + none.layers, 0U);
  lease.reset();
  const CollectResult all = Collect();
  EXPECT_EQ(all.blobs, 4U);
  EXPECT_EQ(all.layers, 2U);
}

TEST_F(CollectTest, WhatAStoreAddedIsLeasedUntilItIsClosed) {
  auto store = Open();
  AddBytes(*store, "new");
  store->AddSignature(Digest::Of("m"), "signature");
  store->AddLayer(Digest::Of("diff"), "")->Commit();
  CollectResult result = Collect();
  EXPECT_EQ(result.blobs + result.layers + result.signatures, 0U);
  store.reset();
  result = Collect();
  EXPECT_EQ(result.blobs + result.layers + result.signatures, 3U);
}

TEST_F(CollectTest, LeaseAndTreesOfADeadProcessAreLeftovers) {
  Add("garbage");
  Process child = Renderer("garbage");
  EXPECT_EQ(Collect().blobs + Collect().leftovers, 0U) << "it lives";
  EXPECT_THAT(Open()->Leftovers(), IsEmpty());
  child.Signal(SIGKILL);
  child.Wait();
  EXPECT_EQ(Problems(*Open()), "") << "leftovers are no harm";
  EXPECT_EQ(Open()->Leftovers().size(), 3U) << "two leases and a tree";
  const CollectResult result = Collect();
  EXPECT_EQ(result.blobs, 1U);
  EXPECT_EQ(result.leftovers, 3U);
  EXPECT_THAT(Open()->Leftovers(), IsEmpty());
}

TEST_F(CollectTest, WhoRendersTakesTreesOfDeadProcessesAway) {
  const auto trees = [&] { return Open()->dir().OpenDir(RelPath::Parse("layers")).List().size(); };
  Process child = Renderer("blob");
  Process lives = Renderer("blob");
  EXPECT_EQ(trees(), 2U);
  child.Signal(SIGKILL);
  child.Wait();
  EXPECT_EQ(trees(), 2U);
  Open()->AddLayer(Digest::Of("layer"), "")->Commit();
  EXPECT_EQ(trees(), 2U) << "the new layer, and that of the one who lives";
  lives.Signal(SIGKILL);
  lives.Wait();
  const auto store = Open();
  const auto first = store->AddLayer(Digest::Of("one"), "");
  const auto second = store->AddLayer(Digest::Of("two"), "");
  EXPECT_EQ(trees(), 3U) << "one's own stay";
}

TEST_F(CollectTest, PodProtectsWhatItLists) {
  {
    const auto store = Open();
    AddBlobs(*store, ImageOf("layer"));
    store->AddLayer(Digest::Of("layer"), "")->Commit();
  }
  const std::string manifest = Digest::Of(ImageOf("layer").ManifestBytes()).str();
  const Dir pod = RootDir().MakeDirs(RelPath::Parse("pods/1234"));
  pod.WriteFileAtomically(RelPath::Parse("image"), "not a digest\n\n" + manifest);
  RootDir().MakeDirs(RelPath::Parse("pods/none"));
  const CollectResult none = Collect();
  EXPECT_EQ(none.blobs + none.layers, 0U);
  RootDir().RemoveTree(RelPath::Parse("pods/1234"));
  EXPECT_EQ(Collect().blobs, 3U);
}

TEST_F(CollectTest, RemovesNothingWhenItCannotTellWhatANameNeeds) {
  AddImage(*Open(), "a:1", ImageOf("layer"));
  Add("garbage");
  const std::string manifest = Digest::Of(ImageOf("layer").ManifestBytes()).hex();
  RootDir().WriteFileAtomically(RelPath::Parse("blobs/sha256/" + manifest), "{}");
  EXPECT_EQ(CaughtError([&] { Collect(); }).kind(), ErrorKind::kCorrupt);
  RootDir().RemoveFile(RelPath::Parse("blobs/sha256/" + manifest));
  EXPECT_EQ(CaughtError([&] { Collect(); }).kind(), ErrorKind::kCorrupt);
  EXPECT_TRUE(Has("garbage"));
  EXPECT_TRUE(Has("layer"));
  Open()->RemoveName("a:1");
  EXPECT_EQ(Collect().blobs, 3U);
}

TEST_F(CollectTest, IndexThatLedToAnImageStaysAndIsBelievedOnlyWhenItListsIt) {
  const ImageBuilder builder = ImageOf("layer");
  const std::string index =
      Index{.media_type = std::string(kOciIndexType), .manifests = {builder.Build().descriptor}}.ToJson();
  const std::string other = Index{.media_type = std::string(kOciIndexType), .manifests = {}}.ToJson();
  {
    const auto store = Open();
    AddBlobs(*store, builder);
    AddBytes(*store, index);
    AddBytes(*store, other);
    for (const auto& [name, through] :
         {std::pair("honest:1", index), std::pair("forged:1", other), std::pair("gone:1", std::string("gone"))}) {
      store->SetName(name, sign::Verifier::ForTest(FetchedImage(builder.Build(), std::nullopt, Digest::Of(through))));
    }
  }
  EXPECT_EQ(Collect().blobs, 0U);
  const auto store = Open();
  EXPECT_EQ(store->Load(store->Resolve("honest:1").value()).index(), Digest::Of(index));
  EXPECT_FALSE(store->Load(store->Resolve("forged:1").value()).index());
  EXPECT_FALSE(store->Load(store->Resolve("gone:1").value()).index());
}

TEST_F(CollectTest, YoungFilesOfOthersInTmpStay) {
  Open();
  RootDir().WriteFileAtomically(RelPath::Parse("tmp/somebody's"), "x");
  EXPECT_EQ(Collect().leftovers, 0U);
  EXPECT_TRUE(RootDir().Exists(RelPath::Parse("tmp/somebody's")));
}

TEST_F(CollectTest, HiddenNamesOfDeadWritersGo) {
  Open();
  for (const char* path : {".gantry-1-2-3.tmp", "blobs/sha256/.gantry-1-2-3.tmp"}) {
    RootDir().WriteFileAtomically(RelPath::Parse(path), "half");
  }
  EXPECT_EQ(Problems(*Open()), "");
  EXPECT_EQ(Collect().leftovers, 2U);
  EXPECT_FALSE(RootDir().Exists(RelPath::Parse(".gantry-1-2-3.tmp")));
}

TEST_F(CollectTest, LayersOfAnotherBootAreNotSeenAndGo) {
  AddImage(*Open(), "a:1", ImageOf("layer"));
  const Digest diff_id = Digest::Of("layer");
  const std::string old = "layers/sha256-" + diff_id.hex() + "~" + std::string(32, '0');
  RootDir().MakeDirs(RelPath::Parse(old + "/usr"));
  EXPECT_FALSE(Open()->RenderedLayer(diff_id, ""));
  EXPECT_EQ(Problems(*Open()), "");
  auto lease = Open()->NewLease();
  lease->Add({diff_id});
  EXPECT_EQ(Collect().layers, 0U) << "another machine may run from it";
  lease.reset();
  EXPECT_EQ(Collect().layers, 1U);
  EXPECT_FALSE(RootDir().Exists(RelPath::Parse(old)));
}

}  // namespace
}  // namespace gantry::image
