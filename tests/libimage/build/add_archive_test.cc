#include "libimage/build/add_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "libimage/base/error.h"
#include "libimage/layer/compression.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TarBuilder;

namespace fs = std::filesystem;

std::string Packed(const std::string& text, Compression compression) {
  std::string out;
  const auto into = StringSink(out);
  const auto sink = Compress(*into, {.compression = compression});
  sink->Write(AsBytes(text));
  sink->Finish();
  return out;
}

bool Is(const std::string& file) { return IsArchive(StringSource(file), "a file"); }

TEST(AddArchiveTest, ContentDecidesAndNotTheName) {
  const std::string tar = TarBuilder().File("a", "text").Build();
  EXPECT_TRUE(Is(tar));
  EXPECT_TRUE(Is(Packed(tar, Compression::kGzip)));
  EXPECT_TRUE(Is(Packed(tar, Compression::kZstd)));
  EXPECT_FALSE(Is(Packed("text", Compression::kGzip))) << "a file that is compressed is no archive";
  for (const std::string& none : {std::string(), std::string("text"), std::string(1024, '\0'), tar.substr(0, 300)})
    EXPECT_FALSE(Is(none));
}

TEST(AddArchiveTest, WhatIsCompressedAndDamagedIsNotTakenForAFile) {
  const std::string packed = Packed(TarBuilder().File("a", "text").Build(), Compression::kGzip);
  EXPECT_EQ(CaughtError([&] { Is(packed.substr(0, packed.size() - 20)); }).kind(), ErrorKind::kCorrupt);
}

class UnpackArchiveTest : public ::testing::Test {
 protected:
  std::set<std::string> Unpack(const std::string& tar) const {
    const Dir into = Dir::Create(temp_.path() + "/into");
    return UnpackArchive(StringSource(tar), into,
                         {.whiteouts = UnpackOptions::Whiteouts::kOverlayUser, .keep_owners = false}, "the archive");
  }
  Error Refused(const std::string& tar) const {
    return CaughtError([&] { Unpack(tar); });
  }

  testing::TempDir temp_;
};

TEST_F(UnpackArchiveTest, DirectoriesWithoutAnEntryAreTold) {
  const auto implied = Unpack(TarBuilder().Dir("a", 0700).File("a/b/c", "text").Build());
  EXPECT_THAT(implied, ElementsAre("", "a/b"));
  EXPECT_TRUE(fs::is_regular_file(temp_.path() + "/into/a/b/c"));
}

TEST_F(UnpackArchiveTest, NothingLeavesTheDirectory) {
  const std::string outside = temp_.path() + "/outside";
  fs::create_directory(outside);
  for (const std::string& tar :
       {TarBuilder().File("../outside/x", "text").Build(), TarBuilder().File("a/../../outside/x", "text").Build()}) {
    EXPECT_EQ(Refused(tar).kind(), ErrorKind::kCorrupt);
  }
  Unpack(TarBuilder().Symlink("out", outside).File("out/x", "text").Build());
  EXPECT_TRUE(fs::is_empty(outside));
}

TEST_F(UnpackArchiveTest, RefusesWhatALayerWouldMeanOtherwise) {
  const Error whiteout = Refused(TarBuilder().Whiteout("etc", "passwd").Build());
  EXPECT_EQ(whiteout.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(whiteout.message(), HasSubstr("'.wh.'"));
  EXPECT_EQ(Refused(TarBuilder().Opaque("etc").Build()).kind(), ErrorKind::kUnsupported);
  const Error link = Refused(TarBuilder().HardLink("mine", "etc/shadow").Build());
  EXPECT_EQ(link.kind(), ErrorKind::kCorrupt);
  EXPECT_THAT(link.message(), HasSubstr("'mine' is a hard link to 'etc/shadow'"));
}

TEST_F(UnpackArchiveTest, WhatEndsEarlyIsCorrupt) {
  std::string packed = Packed(TarBuilder().File("a", std::string(100'000, 'x')).Build(), Compression::kGzip);
  packed.resize(packed.size() - 20);
  EXPECT_EQ(Refused(packed).kind(), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::image
