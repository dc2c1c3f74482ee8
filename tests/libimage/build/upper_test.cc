#include "libimage/build/upper.h"

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

namespace fs = std::filesystem;

constexpr UnpackOptions kOptions{.whiteouts = UnpackOptions::Whiteouts::kOverlayUser, .keep_owners = false};

// A layer "base", a source "from", and the upper directory "upper".
class UpperTest : public ::testing::Test {
 protected:
  UpperTest() {
    for (const char* name : {"base", "from", "upper"}) fs::create_directory(Path(name));
  }

  std::string Path(const std::string& name) const { return temp_.path() + "/" + name; }
  void Put(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name)) << text;
  }
  std::string TextOf(const std::string& name) const {
    std::string text;
    std::getline(std::ifstream(Path(name)), text);
    return text;
  }
  mode_t ModeOf(const std::string& name) const {
    struct stat status {};
    EXPECT_EQ(lstat(Path(name).c_str(), &status), 0) << name;
    return status.st_mode & 07777;
  }

  // Each of `names` of the source to the place of the same number.
  void Copy(const std::vector<std::pair<std::string, std::string>>& names, const CopyRules& rules = {}) const {
    const Dir base = Dir::Open(Path("base")), from = Dir::Open(Path("from")), upper = Dir::Open(Path("upper"));
    const TreeStack source({&from}, kOptions.whiteouts);
    Upper into({&base}, upper, kOptions);
    for (const auto& [name, to] : names)
      into.Copy(source, name.empty() ? source.Root().value() : source.Resolve(name, false).value(), into.Resolve(to),
                rules);
  }

  testing::TempDir temp_;
};

TEST_F(UpperTest, DirectoriesAboveAreAsTheyAreBelow) {
  Put("base/tmp/there", "x");
  fs::permissions(Path("base/tmp"), fs::perms(01777));
  Put("from/file", "text");
  Copy({{"file", "/tmp/new/file"}});
  EXPECT_EQ(TextOf("upper/tmp/new/file"), "text");
  EXPECT_EQ(ModeOf("upper/tmp"), 01777U);
  EXPECT_EQ(ModeOf("upper/tmp/new"), 0755U);
  EXPECT_FALSE(fs::exists(Path("upper/tmp/there")));
}

TEST_F(UpperTest, ADirectoryThatIsThereKeepsItsModeAndThoseInItDoNot) {
  fs::create_directories(Path("base/srv/inner"));
  fs::permissions(Path("base/srv"), fs::perms(0711));
  Put("from/inner/file", "text");
  fs::permissions(Path("from"), fs::perms(0700));
  fs::permissions(Path("from/inner"), fs::perms(0750));
  Copy({{"", "/srv"}});
  EXPECT_EQ(ModeOf("upper/srv"), 0711U);
  EXPECT_EQ(ModeOf("upper/srv/inner"), 0750U);
}

TEST_F(UpperTest, FilesAndDirectoriesDoNotTakeEachOthersPlace) {
  Put("base/file", "x");
  fs::create_directory(Path("base/directory"));
  Put("from/file/inner", "x");
  Put("from/directory", "x");
  for (const char* name : {"file", "directory"})
    EXPECT_EQ(CaughtError([&] { Copy({{name, std::string("/") + name}}); }).kind(), ErrorKind::kFailed) << name;
}

TEST_F(UpperTest, WhatReplacesTakesThePlaceOfAnything) {
  Put("base/file", "x");
  Put("base/directory/inner", "x");
  Put("from/file/inner", "one");
  Put("from/directory", "two");
  Copy({{"", "/"}}, {.replaces = true});
  EXPECT_EQ(TextOf("upper/file/inner"), "one");
  EXPECT_EQ(TextOf("upper/directory"), "two");
  Copy({{"", "/"}}, {.replaces = true});
  EXPECT_EQ(TextOf("upper/directory"), "two") << "the second time over what the first one made";
}

TEST_F(UpperTest, AnImpliedDirectorySaysNothingAboutOneThatIsThere) {
  fs::create_directory(Path("base/etc"));
  fs::permissions(Path("base/etc"), fs::perms(0750));
  Put("from/etc/file", "x");
  fs::permissions(Path("from/etc"), fs::perms(0700));
  Copy({{"", "/"}}, {.replaces = true, .implied = {"etc"}});
  EXPECT_EQ(ModeOf("upper/etc"), 0750U);
  Copy({{"", "/"}}, {.replaces = true});
  EXPECT_EQ(ModeOf("upper/etc"), 0700U);
}

TEST_F(UpperTest, ALinkIsToWhatItWasAndNotToWhatTookItsPlace) {
  Put("from/one/a", "first");
  fs::create_hard_link(Path("from/one/a"), Path("from/one/b"));
  Put("from/two/a", "second");
  Copy({{"one/a", "/a"}, {"two/a", "/a"}, {"one/b", "/b"}});
  EXPECT_EQ(TextOf("upper/a"), "second");
  EXPECT_EQ(TextOf("upper/b"), "first");
}

TEST_F(UpperTest, TheRunnersFilesAreTakenOutOfEtcAndOfNothingThatTookItsPlace) {
  const auto remove = [&] {
    const Dir base = Dir::Open(Path("base")), upper = Dir::Open(Path("upper"));
    RemoveRunnersFiles({&base}, upper, kOptions);
  };
  Put("base/etc/passwd", "below");
  Put("upper/etc/hosts", "the runner's");
  Put("upper/etc/motd", "the command's");
  remove();
  EXPECT_FALSE(fs::exists(Path("upper/etc/hosts")));
  EXPECT_EQ(TextOf("upper/etc/motd"), "the command's");

  fs::remove_all(Path("upper/etc"));
  Put("host/hosts", "the host's");
  fs::create_directory_symlink(Path("host"), Path("upper/etc"));
  remove();
  EXPECT_EQ(TextOf("host/hosts"), "the host's");

  fs::remove(Path("upper/etc"));
  Put("upper/etc", "a file");
  remove();
  EXPECT_EQ(TextOf("upper/etc"), "a file");
}

TEST_F(UpperTest, MarksOfAMachineBecomeThoseOfRoot) {
  if (geteuid() != 0)
    GTEST_SKIP() << "trusted attributes are root's";
  Put("upper/a/b/file", "x");
  ASSERT_EQ(setxattr(Path("upper/a/b").c_str(), "user.overlay.opaque", "y", 1, 0), 0) << strerror(errno);
  ASSERT_EQ(setxattr(Path("upper/a/b/file").c_str(), "user.overlay.origin", "z", 1, 0), 0);
  TrustUserMarks(Dir::Open(Path("upper")));
  char value = 0;
  EXPECT_EQ(getxattr(Path("upper/a/b").c_str(), "trusted.overlay.opaque", &value, 1), 1);
  EXPECT_EQ(value, 'y');
  EXPECT_LT(getxattr(Path("upper/a/b").c_str(), "user.overlay.opaque", &value, 1), 0);
  EXPECT_LT(getxattr(Path("upper/a/b/file").c_str(), "user.overlay.origin", &value, 1), 0);
}

}  // namespace
}  // namespace gantry::image
