#include "libimage/base/dir.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;

RelPath P(std::string_view text) { return RelPath::Parse(text); }

TEST(RelPathTest, AcceptsOneSpelling) {
  EXPECT_EQ(P("a/b-c/d.e").str(), "a/b-c/d.e");
  EXPECT_EQ(P("...").str(), "...");
  EXPECT_EQ(P("\xff").str(), "\xff");
}

TEST(RelPathTest, RejectsEveryOtherSpelling) {
  for (const std::string& text :
       {std::string(), std::string("/"), std::string("/a"), std::string("a/"), std::string("a//b"), std::string("."),
        std::string(".."), std::string("a/../b"), std::string("a/."), std::string("a\0b", 3), std::string(256, 'a'),
        std::string(4096, 'a')}) {
    EXPECT_THROW(RelPath::Parse(text), Error) << Quoted(text);
  }
}

TEST(DirTest, OpenBeneathFollowsNoLink) {
  const TempDir temp;
  const Dir dir = temp.dir();
  ASSERT_EQ(symlinkat("/etc/passwd", dir.fd(), "absolute"), 0);
  ASSERT_EQ(symlinkat(".", dir.fd(), "self"), 0);
  ASSERT_EQ(mkdirat(dir.fd(), "real", 0755), 0);
  EXPECT_THROW(dir.OpenBeneath(P("absolute"), O_RDONLY), Error);
  EXPECT_THROW(dir.OpenBeneath(P("self/real"), O_RDONLY), Error);
  EXPECT_NO_THROW(dir.OpenBeneath(P("real"), O_RDONLY | O_DIRECTORY));
}

TEST(DirTest, OpenInRootKeepsEveryLinkInside) {
  const TempDir temp;
  const Dir dir = temp.dir();
  ASSERT_EQ(mkdirat(dir.fd(), "etc", 0755), 0);
  dir.WriteFileAtomically(P("etc/passwd"), "inside");
  ASSERT_EQ(symlinkat("/etc/passwd", dir.fd(), "absolute"), 0);
  ASSERT_EQ(symlinkat("../../../../etc", dir.fd(), "up"), 0);
  for (const char* path : {"absolute", "/absolute", "up/passwd", "../../etc/passwd", "/etc/passwd"}) {
    const UniqueFd fd = dir.OpenInRoot(path, O_RDONLY);
    EXPECT_EQ(ReadAll(fd.get(), 100, path), "inside") << path;
  }
}

TEST(DirTest, OpenInRootRefusesMagicLinks) {
  EXPECT_THROW(Dir::Open("/proc").OpenInRoot("self/root/etc", O_PATH), Error);
}

TEST(DirTest, WriteFileAtomicallyReplacesAndLeavesNothingElse) {
  const TempDir temp;
  const Dir dir = temp.dir();
  dir.WriteFileAtomically(P("file"), "one");
  dir.WriteFileAtomically(P("file"), "two");
  EXPECT_EQ(dir.ReadFile(P("file"), 10), "two");
  EXPECT_EQ(dir.List(), std::vector<std::string>{"file"});
}

TEST(DirTest, ReadFileRefusesLongFiles) {
  const TempDir temp;
  const Dir dir = temp.dir();
  dir.WriteFileAtomically(P("file"), "12345");
  EXPECT_EQ(CaughtError([&] { dir.ReadFile(P("file"), 4); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(dir.ReadFile(P("file"), 5), "12345");
}

TEST(DirTest, RemoveTreeRemovesLinksAndNotWhatTheyPointTo) {
  const TempDir temp;
  const Dir dir = temp.dir();
  dir.MakeDirs(P("keep"));
  dir.WriteFileAtomically(P("keep/file"), "x");
  dir.MakeDirs(P("tree/a/b"));
  ASSERT_EQ(symlinkat("../keep", dir.OpenDir(P("tree")).fd(), "link"), 0);
  ASSERT_EQ(fchmodat(dir.fd(), "tree/a", 0, 0), 0);
  dir.RemoveTree(P("tree"));
  EXPECT_FALSE(dir.Exists(P("tree")));
  EXPECT_TRUE(dir.Exists(P("keep/file")));
  EXPECT_NO_THROW(dir.RemoveTree(P("tree")));
}

TEST(DirTest, MakeDirsRefusesALinkOnTheWay) {
  const TempDir temp;
  const Dir dir = temp.dir();
  ASSERT_EQ(symlinkat("/tmp", dir.fd(), "link"), 0);
  EXPECT_THROW(dir.MakeDirs(P("link/x")), Error);
}

TEST(StagedFileTest, LeavesNothingWithoutCommit) {
  const TempDir temp;
  const Dir dir = temp.dir();
  {
    StagedFile file(dir);
    WriteFull(file.fd(), AsBytes("x"), "file");
  }
  EXPECT_TRUE(dir.List().empty());
}

}  // namespace
}  // namespace gantry
