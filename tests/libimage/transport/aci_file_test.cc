#include "libimage/transport/aci_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "libimage/layer/compression.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TarBuilder;
using gantry::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kManifest = R"({"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/app"})";

std::shared_ptr<const AciFile> Aci(const std::string& tar) {
  return std::make_shared<const AciFile>([tar] { return StringSource(tar); }, "x.aci");
}

std::shared_ptr<const AciFile> Aci(const TarBuilder& tar) { return Aci(tar.Build()); }

TarBuilder Small() { return TarBuilder().File("manifest", kManifest).Dir("rootfs"); }

Error Refused(const TarBuilder& tar) {
  return CaughtError([&] { Aci(tar); });
}

std::vector<std::string> NamesIn(std::unique_ptr<Source> tar) {
  ArchiveReader reader(std::move(tar), "the layer");
  std::vector<std::string> names;
  for (Entry entry; reader.Next(entry);)
    names.push_back(entry.link.empty() ? entry.name : entry.name + " -> " + entry.link);
  return names;
}

std::string Content(std::unique_ptr<Source> tar, const std::string& name) {
  ArchiveReader reader(std::move(tar), "the layer");
  std::string content;
  for (Entry entry; reader.Next(entry);) {
    if (entry.name != name)
      continue;
    content.assign(entry.size, '\0');
    uint64_t offset = 0;
    std::span<const std::byte> bytes;
    while (reader.ReadPiece(offset, bytes)) content.replace(offset, bytes.size(), AsText(bytes));
  }
  return content;
}

PathWhitelists Only(const std::vector<std::string>& paths) { return {std::make_shared<const PathWhitelist>(paths)}; }

TEST(AciFileTest, LayerIsWhatIsBelowRootfs) {
  const std::string large(700'000, 'x');
  const auto aci = Aci(Small()
                           .Dir("rootfs/etc", 0700)
                           .File("rootfs/etc/large", large)
                           .HardLink("rootfs/b", "rootfs/etc/large")
                           .Symlink("rootfs/s", "/rootfs/etc")
                           .CharDevice("rootfs/null", 1, 3));
  EXPECT_EQ(aci->manifest().name, "example.com/app");
  EXPECT_THAT(NamesIn(aci->OpenLayer()),
              ElementsAre("./", "etc/", "etc/large", "b -> etc/large", "s -> /rootfs/etc", "null"));
  EXPECT_EQ(Content(aci->OpenLayer(), "etc/large"), large);
}

TEST(AciFileTest, DigestsAreOfTheTarAndOfTheLayer) {
  const std::string tar = Small().File("rootfs/a", "a").Build();
  const auto aci = Aci(tar);
  EXPECT_EQ(aci->image_id(), Digest::Of(tar, HashAlgorithm::kSha512));
  EXPECT_EQ(aci->tar_bytes(), tar.size());
  const std::string layer = Drain(*aci->OpenLayer(), 1 << 20, "the layer");
  EXPECT_EQ(aci->layer_digest(), Digest::Of(layer));
  EXPECT_EQ(aci->layer_bytes(), layer.size());
  EXPECT_EQ(Drain(*aci->OpenLayer(Only({"/a"})), 1 << 20, "the layer"), layer);
}

TEST(AciFileTest, ManifestIsFirstOrLast) {
  EXPECT_EQ(Aci(TarBuilder().Dir("rootfs").File("rootfs/a", "").File("manifest", kManifest))->manifest().name,
            "example.com/app");
  EXPECT_EQ(Aci(TarBuilder().Dir("./").File("./manifest", kManifest).Dir("./rootfs"))->manifest().name,
            "example.com/app");
  EXPECT_THAT(Refused(TarBuilder().Dir("rootfs").File("manifest", kManifest).File("rootfs/a", "")).message(),
              HasSubstr("neither the first entry nor the last"));
}

TEST(AciFileTest, OnlyManifestAndRootfsMayBeThere) {
  const auto expect = [](const TarBuilder& tar, const std::string& reason) {
    const Error error = Refused(tar);
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << error.message();
    EXPECT_THAT(error.message(), HasSubstr(reason));
  };
  for (const char* name : {"other", "rootfs2/a", "../rootfs/a", "/rootfs/a", "/manifest", "manifest/", "manifest/x"})
    expect(Small().File(name, ""), "entry 3");
  for (const char* name : {"rootfs/../manifest", "rootfs/a/../../x", "rootfs/.."})
    expect(Small().File(name, ""), "'..'");
  expect(TarBuilder().File("manifest", kManifest).File("rootfs", "x"), "root of an image must be a directory");
  expect(TarBuilder().File("manifest", kManifest).Symlink("rootfs", "/"), "root of an image must be a directory");
  expect(TarBuilder().Symlink("manifest", "rootfs/m").Dir("rootfs"), "not a regular file");
  expect(Small().File("manifest", kManifest), "a second manifest");
  expect(Small().File("./manifest", kManifest), "a second manifest");
  expect(TarBuilder().Dir("rootfs"), "no 'manifest'");
  expect(TarBuilder().File("manifest", kManifest), "no 'rootfs'");
  expect(TarBuilder().File("manifest", kManifest).File("rootfs/a", ""), "no 'rootfs'");
  expect(TarBuilder(), "no 'manifest'");
  expect(TarBuilder().File("manifest", "{}").Dir("rootfs"), "'acKind'");
  for (const char* target : {"a", "/etc/passwd", "rootfs", "manifest", "rootfs/../manifest", "../rootfs/a"})
    EXPECT_EQ(Refused(Small().HardLink("rootfs/b", target)).kind(), ErrorKind::kCorrupt) << target;
}

TEST(AciFileTest, NoPathComesTwice) {
  for (const char* again : {"rootfs/a/b", "./rootfs/a//b", "rootfs/./a/b"}) {
    EXPECT_THAT(Refused(Small().File("rootfs/a/b", "1").File(again, "2")).message(), HasSubstr("second entry"))
        << again;
    EXPECT_THAT(Refused(Small().Dir("rootfs/a/b").Dir(again)).message(), HasSubstr("second entry")) << again;
  }
  EXPECT_THAT(Refused(Small().Dir("rootfs")).message(), HasSubstr("second entry"));
}

TEST(AciFileTest, ManifestHasABound) {
  const TarBuilder::Header header{.name = "manifest", .size = kMaxAciManifestBytes + 1};
  EXPECT_THAT(Refused(TarBuilder().Entry(header, kManifest)).message(), HasSubstr("larger"));
}

TEST(AciFileTest, WhiteoutsAreUnsupported) {
  EXPECT_EQ(Refused(Small().File("rootfs/.wh.a", "")).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(Refused(Small().File("rootfs/d/.wh..wh..opq", "")).kind(), ErrorKind::kUnsupported);
}

TEST(AciFileTest, EveryTruncationIsCorrupt) {
  const TarBuilder last = TarBuilder().Dir("rootfs").File("rootfs/a", "content").File("manifest", kManifest);
  const TarBuilder zeros = Small().Dir("rootfs/d").File("rootfs/zeros", std::string(2000, '\0'));
  for (const TarBuilder& tar : {Small().File("rootfs/a", "content"), last, zeros}) {
    const std::string whole = tar.Build();
    EXPECT_EQ(Aci(whole)->manifest().name, "example.com/app");
    for (size_t size = 0; size < whole.size(); ++size) {
      const Error error = CaughtError([&] { Aci(whole.substr(0, size)); });
      ASSERT_EQ(error.kind(), ErrorKind::kCorrupt) << size << ": " << error.message();
    }
  }
}

TEST(AciFileTest, NothingFollowsTheEnd) {
  EXPECT_EQ(CaughtError([] { Aci(Small().Build() + "x"); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(Aci(Small().Build() + std::string(9000, '\0'))->manifest().name, "example.com/app");
}

TEST(AciFileTest, WhitelistLeavesOutWhatItDoesNotName) {
  const auto aci =
      Aci(Small().Dir("rootfs/d").File("rootfs/d/a", "").Dir("rootfs/e").File("rootfs/e/b", "").Dir("rootfs/empty"));
  EXPECT_THAT(NamesIn(aci->OpenLayer(Only({"/d/a", "/empty/"}))), ElementsAre("./", "d/", "d/a", "empty/"));
  PathWhitelists both = Only({"/d/a", "/e/b"});
  both.push_back(Only({"/e/b", "/empty"}).front());
  EXPECT_THAT(NamesIn(aci->OpenLayer(both)), ElementsAre("./", "e/", "e/b"));
}

TEST(AciFileTest, FirstNameThatIsAllowedHasTheContent) {
  const auto aci =
      Aci(Small().File("rootfs/a", "text").HardLink("rootfs/b", "rootfs/a").HardLink("rootfs/c", "rootfs/b"));
  EXPECT_THAT(NamesIn(aci->OpenLayer(Only({"/c"}))), ElementsAre("./", "c"));
  EXPECT_THAT(NamesIn(aci->OpenLayer(Only({"/b", "/c"}))), ElementsAre("./", "b", "c -> b"));
  EXPECT_THAT(NamesIn(aci->OpenLayer(Only({"/a", "/c"}))), ElementsAre("./", "a", "c -> a"));
  EXPECT_EQ(Content(aci->OpenLayer(Only({"/b", "/c"})), "b"), "text");
}

TEST(AciFileTest, FilesMayBeCompressed) {
  const TempDir temp;
  const std::string path = temp.path() + "/x.aci";
  const std::string tar = Small().File("rootfs/a", std::string(1'000'000, 'a')).Build();
  for (const Compression compression : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    std::string packed;
    const auto sink = StringSink(packed);
    const auto into = Compress(*sink, {.compression = compression});
    into->Write(AsBytes(tar));
    into->Finish();
    std::ofstream(path, std::ios::binary) << packed;
    const auto aci = AciFile::Open(path);
    EXPECT_EQ(aci->image_id(), Digest::Of(tar, HashAlgorithm::kSha512));
    EXPECT_EQ(AciFile::Open(path, ImageId::kWhenAsked)->image_id(), aci->image_id());
    EXPECT_EQ(Hasher(aci->bytes()->hashed).Finish(), Digest::Of(packed));
    EXPECT_EQ(aci->file_bytes(), packed.size());
    EXPECT_EQ(AciFile::Peek(path)->name, "example.com/app");
    for (size_t size = 0; compression != Compression::kNone && size < packed.size(); size += 7) {
      ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(packed.size() - 1 - size)), 0);
      ASSERT_EQ(CaughtError([&] { AciFile::Open(path); }).kind(), ErrorKind::kCorrupt) << size;
    }
  }
}

TEST(AciFileTest, WhatChangesAfterItWasCheckedIsRefused) {
  const TempDir temp;
  const std::string path = temp.path() + "/x.aci";
  const std::string before = Small().File("rootfs/a", "good").File("rootfs/b", "").Build();
  const std::string after = Small().File("rootfs/a", "evil").File("rootfs/b", "").Build();
  ASSERT_EQ(before.size(), after.size());
  std::ofstream(path, std::ios::binary) << before;
  const auto aci = AciFile::Open(path, ImageId::kWhenAsked);
  EXPECT_EQ(Content(aci->OpenLayer(Only({"/a"})), "a"), "good");
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out) << after;
  for (const PathWhitelists& only : {PathWhitelists(), Only({"/a"}), Only({"/b"})}) {
    const Error error = CaughtError([&] { Drain(*aci->OpenLayer(only), 1 << 20, "the layer"); });
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_THAT(error.message(), HasSubstr("read again"));
  }
  EXPECT_EQ(CaughtError([&] { aci->image_id(); }).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
