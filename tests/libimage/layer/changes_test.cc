#include "libimage/layer/changes.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using testing::CaughtError;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

// Two trees, and the layer that leads from one to the other. Whiteouts need no privilege, for the second is whole.
class ChangesTest : public ::testing::Test {
 protected:
  ChangesTest() {
    fs::create_directory(Base());
    fs::create_directory(Now());
  }

  std::string Base(const std::string& name = "") const { return temp_.path() + "/base/" + name; }
  std::string Now(const std::string& name = "") const { return temp_.path() + "/now/" + name; }
  static void Put(const std::string& path, const std::string& text, mode_t mode = 0644, time_t time = 1000) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    SetTime(path, time);
  }
  static void SetTime(const std::string& path, time_t time) {
    const timespec times[2] = {{time, 0}, {time, 5000}};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
  }
  void PutBoth(const std::string& name, const std::string& text) const {
    Put(Base(name), text);
    Put(Now(name), text, 0644, 2000);
  }

  std::string Tar(const ChangesOptions& options) const {
    const Dir base = Dir::Open(Base()), now = Dir::Open(Now());
    const TreeStack stack({&base}, UnpackOptions::Whiteouts::kOverlayUser);
    const Changes changes(stack, now, options);
    std::string tar;
    if (!changes.empty())
      changes.Write(*StringSink(tar));
    return tar;
  }
  std::vector<Entry> Entries(std::optional<int64_t> epoch = std::nullopt) const {
    ArchiveReader reader(StringSource(Tar({.whole_tree = true, .epoch = epoch})), "the layer");
    std::vector<Entry> entries;
    for (Entry entry; reader.Next(entry);) entries.push_back(entry);
    return entries;
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const Entry& entry : Entries()) names.push_back(entry.name);
    return names;
  }

  testing::TempDir temp_;
};

TEST_F(ChangesTest, TimesAndRewritingAreNoChange) {
  PutBoth("etc/same", "text");
  PutBoth("etc/empty", "");
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(ChangesTest, ContentOfTheSameLengthIsCompared) {
  PutBoth("etc/same", "text");
  Put(Base("etc/other"), "aaaa");
  Put(Now("etc/other"), "aaab");
  EXPECT_THAT(Names(), ElementsAre("etc/", "etc/other"));
}

TEST_F(ChangesTest, AnAttributeIsAChange) {
  PutBoth("mode", "text");
  chmod(Now("mode").c_str(), 0600);
  PutBoth("xattr", "text");
  if (lsetxattr(Now("xattr").c_str(), "user.note", "1", 1, 0) != 0)
    GTEST_SKIP() << "no extended attributes here";
  EXPECT_THAT(Names(), ElementsAre("mode", "xattr"));
  EXPECT_EQ(Entries()[1].xattrs.at(0).first, "user.note");
}

TEST_F(ChangesTest, WhiteoutsComeBeforeWhatIsThere) {
  PutBoth("d/stays", "text");
  Put(Base("d/z"), "gone");
  Put(Now("d/a"), "new");
  EXPECT_THAT(Names(), ElementsAre("d/", "d/.wh.z", "d/a"));
}

TEST_F(ChangesTest, ADirectoryWithNothingLeftIsOpaque) {
  Put(Base("d/a"), "gone");
  Put(Base("d/b"), "gone");
  Put(Now("d/c"), "new");
  EXPECT_THAT(Names(), ElementsAre("d/", "d/.wh..wh..opq", "d/c"));
}

TEST_F(ChangesTest, ADirectoryThatIsOnlyPassedKeepsItsTime) {
  Put(Base("d/old"), "text");
  Put(Now("d/old"), "text");
  SetTime(Base("d"), 500);
  Put(Now("d/new"), "text");
  EXPECT_EQ(Entries()[0].name, "d/");
  EXPECT_EQ(Entries()[0].mtime, (Time{500, 0}));
}

TEST_F(ChangesTest, TimesAreWholeSecondsAndNotAfterTheEpoch) {
  Put(Now("early"), "text", 0644, 100);
  Put(Now("late"), "text", 0644, 3000);
  const std::vector<Entry> entries = Entries(2000);
  EXPECT_EQ(entries[0].mtime, (Time{100, 0}));
  EXPECT_EQ(entries[1].mtime, (Time{2000, 0}));
}

TEST_F(ChangesTest, AllNamesOfAnInodeGoInWhenOneIsNew) {
  PutBoth("a", "text");
  fs::create_hard_link(Now("a"), Now("b"));
  EXPECT_THAT(Names(), ElementsAre("a", "b"));
  EXPECT_EQ(Entries()[1].type, EntryType::kHardLink);
  EXPECT_EQ(Entries()[1].link, "a");
}

TEST_F(ChangesTest, PartedNamesOfAWholeTreeAreAChange) {
  Put(Base("a"), "text");
  fs::create_hard_link(Base("a"), Base("b"));
  Put(Now("a"), "text");
  Put(Now("b"), "text");
  EXPECT_THAT(Names(), ElementsAre("a", "b"));
}

TEST_F(ChangesTest, AHoleIsZeros) {
  { std::ofstream(Now("sparse")) << "x"; }
  fs::resize_file(Now("sparse"), 300'000);
  ArchiveReader reader(StringSource(Tar({.whole_tree = true})), "the layer");
  Entry entry;
  ASSERT_TRUE(reader.Next(entry));
  EXPECT_EQ(entry.size, 300'000U);
  std::string content(entry.size, '\0');
  uint64_t offset = 0;
  for (std::span<const std::byte> bytes; reader.ReadPiece(offset, bytes);)
    content.replace(offset, bytes.size(), AsText(bytes));
  EXPECT_EQ(content, "x" + std::string(299'999, '\0'));
}

TEST_F(ChangesTest, TheSameBytesWhateverTheThreads) {
  for (int i = 0; i < 20; ++i) {
    PutBoth("same" + std::to_string(i), "text");
    Put(Now("new" + std::to_string(i)), "text");
  }
  EXPECT_EQ(Tar({.whole_tree = true, .threads = 1}), Tar({.whole_tree = true, .threads = 4}));
}

TEST_F(ChangesTest, RefusesNamesThatMeanWhiteouts) {
  Put(Now(".wh.x"), "text");
  EXPECT_EQ(CaughtError([&] { Names(); }).kind(), ErrorKind::kUnsupported);
}

TEST_F(ChangesTest, LinksAreFollowedInsideTheStack) {
  fs::create_directories(Base("run/app"));
  fs::create_directories(Base("var"));
  fs::create_symlink("/run", Base("var/run"));
  const Dir base = Dir::Open(Base());
  const TreeStack stack({&base}, UnpackOptions::Whiteouts::kOverlayUser);
  std::string resolved;
  EXPECT_TRUE(stack.Resolve("/var/run/../../var/run/app", true, &resolved));
  EXPECT_EQ(resolved, "run/app");
  EXPECT_FALSE(stack.Resolve("var/run/new/file", true, &resolved));
  EXPECT_EQ(resolved, "run/new/file");
}

}  // namespace
}  // namespace gantry::image
