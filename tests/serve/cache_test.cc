#include "serve/cache.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace gantry::serve {
namespace {

using ::gantry::testing::TempDir;

Order AciOrder(const std::string& name, uint64_t id = 1) {
  return {.kind = Order::Kind::kAci,
          .id = id,
          .name = name,
          .reference = "v1",
          .platform = "linux/amd64",
          .aci_name = "x/" + name};
}

// As the kitchen leaves it.
Record Make(const TempDir& dir, const Order& order, const std::string& bytes, int file = 0) {
  dir.dir().WriteFileAtomically(RelPath::Parse("cache/new/" + std::to_string(order.id) + "." + std::to_string(file)),
                                bytes);
  return {.source = Digest::Of("source").str(),
          .size = bytes.size(),
          .file = file,
          .image_id = "sha512-" + Digest::Of(bytes).hex()};
}

std::string ReadOf(const Cache& cache, const Order& order) {
  return ReadAll(cache.OpenFile(KeyOf(order), false).get(), 1 << 20, "file");
}

class CacheTest : public ::testing::Test {
 protected:
  std::unique_ptr<Cache> Open(uint64_t max_bytes = 1 << 20) {
    return std::make_unique<Cache>(dir_.path() + "/cache", max_bytes, std::chrono::seconds(60));
  }
  TempDir dir_;
};

TEST_F(CacheTest, OutlivesTheServerButIsAskedAboutAnew) {
  const Order order = AciOrder("box");
  {
    const auto cache = Open();
    cache->Add(order, Make(dir_, order, "content", 1));
    EXPECT_TRUE(cache->IsFresh(*cache->Find(KeyOf(order))));
  }
  const auto cache = Open();
  const auto entry = cache->Find(KeyOf(order));
  ASSERT_TRUE(entry);
  EXPECT_FALSE(cache->IsCurrent(*entry));
  EXPECT_EQ(entry->record->source, Digest::Of("source").str());
  EXPECT_EQ(ReadOf(*cache, order), "content");
  cache->Touch(KeyOf(order));
  EXPECT_TRUE(cache->IsFresh(*cache->Find(KeyOf(order))));
  cache->BeginGeneration();
  EXPECT_FALSE(cache->IsCurrent(*cache->Find(KeyOf(order))));
}

TEST_F(CacheTest, ForgetsWhatIsDamagedOrHalfMade) {
  const Order order = AciOrder("box");
  const std::string file = FileOf(KeyOf(order));
  { Open()->Add(order, Make(dir_, order, "content")); }
  dir_.dir().WriteFileAtomically(RelPath::Parse("cache/new/7.0"), "half");
  dir_.dir().WriteFileAtomically(RelPath::Parse("cache/files/" + Digest::Of("y").hex() + ".aci"), "nobody's");
  dir_.dir().WriteFileAtomically(RelPath::Parse("cache/records/" + file + ".json"), "{");
  const auto cache = Open();
  EXPECT_FALSE(cache->Find(KeyOf(order)));
  for (const char* folder : {"files", "new", "records"})
    EXPECT_TRUE(Dir::Open(dir_.path() + "/cache/" + folder).List().empty()) << folder;
}

TEST_F(CacheTest, ARecordUnderAnotherNameIsNone) {
  const Order order = AciOrder("box");
  { Open()->Add(order, Make(dir_, order, "content")); }
  const Dir records = Dir::Open(dir_.path() + "/cache/records");
  records.Rename(RelPath::Parse(FileOf(KeyOf(order)) + ".json"), RelPath::Parse(Digest::Of("z").hex() + ".json"));
  EXPECT_EQ(Open()->entries(), 0u);
}

TEST_F(CacheTest, ANewFileTakesTheSignatureOfTheOldOneAlong) {
  const Order order = AciOrder("box");
  const auto cache = Open();
  cache->Add(order, Make(dir_, order, "one"));
  dir_.dir().WriteFileAtomically(RelPath::Parse("cache/files/" + FileOf(KeyOf(order)) + ".aci.asc"), "signature");
  cache->SetSigned(KeyOf(order), cache->Find(KeyOf(order))->record->image_id, "me");
  EXPECT_EQ(cache->Find(KeyOf(order))->signed_by, "me");
  cache->Add(order, Make(dir_, order, "two"));
  EXPECT_EQ(cache->Find(KeyOf(order))->signed_by, "");
  EXPECT_THROW(cache->OpenFile(KeyOf(order), true), Error);
  EXPECT_EQ(ReadOf(*cache, order), "two");
}

TEST_F(CacheTest, ASignatureOfAnotherImageGoes) {
  const Order order = AciOrder("box");
  const auto cache = Open();
  cache->Add(order, Make(dir_, order, "two"));
  const RelPath signature = RelPath::Parse("cache/files/" + FileOf(KeyOf(order)) + ".aci.asc");
  dir_.dir().WriteFileAtomically(signature, "of one");
  cache->SetSigned(KeyOf(order), "sha512-" + Digest::Of("one").hex(), "me");
  EXPECT_EQ(cache->Find(KeyOf(order))->signed_by, "");
  EXPECT_FALSE(dir_.dir().Exists(signature));
}

TEST_F(CacheTest, WhatCannotBeTakenInLeavesNoEntry) {
  const Order order = AciOrder("box");
  const auto cache = Open();
  cache->Add(order, Make(dir_, order, "one"));
  // The record cannot be written: a directory has its name.
  const RelPath record = RelPath::Parse("cache/records/" + FileOf(KeyOf(order)) + ".json");
  const Record two = Make(dir_, order, "two");
  dir_.dir().RemoveFile(record);
  dir_.dir().MakeDirs(record / RelPath::Parse("x"));
  EXPECT_THROW(cache->Add(order, two), Error);
  EXPECT_FALSE(cache->Find(KeyOf(order)));
  dir_.dir().RemoveTree(record);
  cache->Add(order, Make(dir_, order, "three"));
  EXPECT_EQ(ReadOf(*cache, order), "three");
}

TEST_F(CacheTest, EvictsTheLongestUnusedAndWhoReadsItReadsOn) {
  const auto cache = Open(250);
  for (uint64_t i = 1; i <= 2; ++i) {
    const Order order = AciOrder("box" + std::to_string(i), i);
    cache->Add(order, Make(dir_, order, std::string(100, 'x')));
  }
  cache->Find(KeyOf(AciOrder("box1")));
  const UniqueFd reads = cache->OpenFile(KeyOf(AciOrder("box2")), false);
  const Order third = AciOrder("box3", 3);
  cache->Add(third, Make(dir_, third, std::string(100, 'y')));
  cache->Evict(KeyOf(third));
  EXPECT_TRUE(cache->Find(KeyOf(AciOrder("box1"))));
  EXPECT_FALSE(cache->Find(KeyOf(AciOrder("box2"))));
  EXPECT_EQ(ReadAll(reads.get(), 1000, "file").size(), 100u);
  EXPECT_EQ(cache->bytes(), 200u);
}

TEST_F(CacheTest, NamesStayInTheStoreAsLongAsOneNeedsThem) {
  const auto cache = Open(100);
  const image::Descriptor blob{.media_type = "x/y", .digest = Digest::Of("blob"), .size = 60};
  const auto add = [&](const std::string& form, std::vector<std::string> names, const image::Descriptor& part) {
    if (!form.empty())
      dir_.dir().MakeDirs(RelPath::Parse("cache/new/0.oci"));
    cache->Add({.kind = Order::Kind::kImage, .name = "box", .reference = "v1", .form = form},
               {.source = blob.digest.str(), .top = part, .manifests = {part}, .blobs = {}, .names = std::move(names)});
  };
  add("", {"up/box:v1"}, blob);
  add("zstd", {"up/box:v1", "made:v1"}, {.media_type = "x/y", .digest = Digest::Of("other"), .size = 60});
  EXPECT_TRUE(cache->FindPart("box", "", blob.digest, true));
  EXPECT_FALSE(cache->FindPart("box", "zstd", blob.digest, true));
  EXPECT_FALSE(cache->FindPart("box", "", blob.digest, false));
  EXPECT_TRUE(
      cache->Evict(KeyOf({.kind = Order::Kind::kImage, .name = "box", .reference = "v1", .form = "zstd"})).empty());
  EXPECT_FALSE(cache->FindPart("box", "", blob.digest, true));
  cache->Remove(KeyOf({.kind = Order::Kind::kImage, .name = "box", .reference = "v1", .form = "zstd"}));
  EXPECT_EQ(cache->Evict("").size(), 2u);
}

}  // namespace
}  // namespace gantry::serve
