#include "libimage/convert/artifact_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "libimage/base/error.h"
#include "libimage/base/staged_dir.h"
#include "libimage/model/media_type.h"
#include "tests/support/image_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::MemoryBlobs;
using gantry::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ArtifactFilesTest : public ::testing::Test {
 public:
  ArtifactFilesTest() { manifest_.artifact_type = "application/vnd.example"; }

  ArtifactFilesTest& Add(const std::string& title, const std::string& bytes) {
    blobs_.Put(bytes);
    manifest_.layers.push_back(
        {.media_type = "application/octet-stream", .digest = Digest::Of(bytes), .size = bytes.size()});
    if (!title.empty())
      manifest_.layers.back().annotations = {{std::string(kTitleAnnotation), title}};
    return *this;
  }

  ErrorKind Problem() const {
    return CaughtError([&] { FilesOf(manifest_); }).kind();
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const ArtifactFile& file : FilesOf(manifest_)) names.push_back(file.path.str());
    return names;
  }

  void Write(bool overwrite = false) const {
    WriteFiles(FilesOf(manifest_), blobs_, Dir::Open(into_.path()), overwrite, SilentProgress());
  }

  std::vector<std::string> Found() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(into_.path()))
      found.push_back(std::filesystem::relative(entry.path(), into_.path()));
    std::sort(found.begin(), found.end());
    return found;
  }

  std::string Text(const std::string& name) const {
    return Dir::Open(into_.path()).ReadFile(RelPath::Parse(name), 100);
  }

  Manifest manifest_{.media_type = std::string(kOciManifestType),
                     .config = {.media_type = std::string(kOciEmptyType), .digest = Digest::Of("{}"), .size = 2}};
  MemoryBlobs blobs_;
  TempDir into_;
};

TEST_F(ArtifactFilesTest, WritesEachUnderItsTitle) {
  Add("a.txt", "one").Add("deep/er/b", "two").Add("./c", "one").Write();
  EXPECT_THAT(Found(), ElementsAre("a.txt", "c", "deep", "deep/er", "deep/er/b"));
  EXPECT_EQ(Text("deep/er/b"), "two");
  EXPECT_EQ(Text("c"), "one");
}

TEST_F(ArtifactFilesTest, WithoutATitleTheDigestIsTheName) {
  EXPECT_THAT(Add("", "one").Names(), ElementsAre("sha256-" + Digest::Of("one").hex()));
}

TEST_F(ArtifactFilesTest, RefusesTitlesThatAreNoPathBelow) {
  for (const std::string& title :
       {std::string("/etc/x"), std::string("../x"), std::string("a/../../x"), std::string("a//b"), std::string("a/"),
        std::string("."), std::string(".."), std::string("././x"), std::string("a\nb"), std::string("a\0b", 3),
        std::string("\x7f"), std::string(300, 'x'), std::string(5000, 'x'), std::string(".gantry-files-1"),
        std::string("\xc2\x9b"
                    "31m"),
        std::string("\xe2\x80\xae"
                    "txt")}) {
    manifest_.layers.clear();
    EXPECT_EQ(Add(title, "x").Problem(), ErrorKind::kCorrupt) << title;
  }
}

TEST_F(ArtifactFilesTest, RefusesOneNameTwice) {
  EXPECT_EQ(Add("a", "one").Add("./a", "two").Problem(), ErrorKind::kCorrupt);
  manifest_.layers.clear();
  EXPECT_EQ(Add("a/b/c", "one").Add("a", "two").Problem(), ErrorKind::kCorrupt);
}

TEST_F(ArtifactFilesTest, PackedDirectoriesAreUnsupported) {
  Add("dir", "tar").manifest_.layers[0].annotations["io.deis.oras.content.unpack"] = "true";
  EXPECT_EQ(Problem(), ErrorKind::kUnsupported);
  manifest_.layers[0].annotations[std::string(kTitleAnnotation)] = ".";
  EXPECT_EQ(Problem(), ErrorKind::kUnsupported);
}

TEST_F(ArtifactFilesTest, WithoutLayersThereIsNothing) { EXPECT_EQ(Problem(), ErrorKind::kNotFound); }

TEST_F(ArtifactFilesTest, LeavesNothingWhenABlobIsMissing) {
  Add("a", "one").Add("b", "two");
  blobs_.Remove(Digest::Of("two"));
  EXPECT_EQ(CaughtError([&] { Write(); }).kind(), ErrorKind::kNotFound);
  EXPECT_THAT(Found(), IsEmpty());
}

TEST_F(ArtifactFilesTest, ReplacesOnlyWhenAskedTo) {
  Add("a", "old").Write();
  manifest_.layers.clear();
  Add("b", "two").Add("a", "new");
  const Error error = CaughtError([&] { Write(); });
  EXPECT_EQ(error.kind(), ErrorKind::kFailed);
  EXPECT_THAT(error.hint(), HasSubstr("--overwrite"));
  EXPECT_THAT(Found(), ElementsAre("a"));
  Write(true);
  EXPECT_EQ(Text("a"), "new");
  EXPECT_THAT(Found(), ElementsAre("a", "b"));
}

TEST_F(ArtifactFilesTest, WithoutRoomForOneNoneAppears) {
  std::filesystem::create_directories(into_.path() + "/sub/dir");
  std::ofstream(into_.path() + "/file") << "mine";
  for (const std::string name : {"file/x", "sub", "sub/dir"}) {
    manifest_.layers.clear();
    Add("a", "one").Add(name, "two");
    for (const bool overwrite : {false, true})
      EXPECT_EQ(CaughtError([&] { Write(overwrite); }).kind(), ErrorKind::kFailed) << name;
    EXPECT_THAT(Found(), ElementsAre("file", "sub", "sub/dir"));
  }
}

// Blobs during whose reading somebody else takes a name.
class TakenMeanwhile : public Blobs {
 public:
  TakenMeanwhile(const Blobs& blobs, std::string taken) : blobs_(blobs), taken_(std::move(taken)) {}
  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override {
    std::filesystem::create_directories(taken_);
    return blobs_.Open(blob, what);
  }

 private:
  const Blobs& blobs_;
  std::string taken_;
};

TEST_F(ArtifactFilesTest, ANameThatIsTakenMeanwhileTakesBackTheOthers) {
  Add("a", "one").Add("new/dir/b", "two").Add("c", "three");
  const TakenMeanwhile blobs(blobs_, into_.path() + "/c");
  const auto write = [&] { WriteFiles(FilesOf(manifest_), blobs, Dir::Open(into_.path()), false, SilentProgress()); };
  EXPECT_EQ(CaughtError(write).kind(), ErrorKind::kFailed);
  EXPECT_THAT(Found(), ElementsAre("c"));
}

TEST_F(ArtifactFilesTest, RemovesWhatWasLeftHiddenButNotWhatIsInUse) {
  std::filesystem::create_directories(into_.path() + "/.gantry-files-1-0");
  std::ofstream(into_.path() + "/.gantry-files-1-0/0") << "left";
  const StagedDir other(Dir::Open(into_.path()), ".gantry-files-");
  Add("a", "one").Write();
  EXPECT_THAT(Found(), ElementsAre(std::filesystem::path(other.dir().name()).filename(), "a"));
}

TEST_F(ArtifactFilesTest, FollowsNoLink) {
  const TempDir outside;
  std::filesystem::create_symlink(outside.path(), into_.path() + "/dir");
  std::filesystem::create_symlink(outside.path() + "/file", into_.path() + "/link");
  EXPECT_ANY_THROW(Add("dir/x", "one").Write(true));
  manifest_.layers.clear();
  Add("link", "two").Write(true);
  EXPECT_EQ(Text("link"), "two");
  EXPECT_TRUE(std::filesystem::is_empty(outside.path()));
}

}  // namespace
}  // namespace gantry::image
