#include "runner/user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>

#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TempDir;
using ::testing::ElementsAre;

class UserTest : public ::testing::Test {
 protected:
  UserTest() {
    root_.dir().MakeDirs(RelPath::Parse("etc"));
    Write(
        "etc/passwd",
        "# comment\nroot:x:0:0:root:/var/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n"
        "broken:x:12x:12::/:/bin/sh\nhigh:x:4294967295:1::/:/bin/sh\nshort:x:5\nnogroup:x:40:::/:\nlast:x:50:51::/l:");
    Write("etc/group",
          "root:x:0:\nweb:x:34:\nextra:x:70:other,web\nadm:x:60:web\nwebby:x:61:webx,xweb\nbad:x:9x:web\n");
  }
  void Write(const std::string& path, const std::string& text) { std::ofstream(root_.path() + "/" + path) << text; }
  Credentials Resolve(const std::string& spec) { return ResolveUser(root_.dir(), spec); }
  ErrorKind KindOf(const std::string& spec) {
    return CaughtError([&] { Resolve(spec); }).kind();
  }
  TempDir root_;
};

TEST_F(UserTest, NobodyNamedIsRoot) { EXPECT_EQ(Resolve(""), (Credentials{0, 0, {}, "/var/root"})); }

TEST_F(UserTest, ANameBringsItsGroupsAndHome) { EXPECT_EQ(Resolve("web"), (Credentials{33, 34, {60, 70}, "/srv"})); }

TEST_F(UserTest, ANumberFindsItsEntry) { EXPECT_EQ(Resolve("33"), (Credentials{33, 34, {60, 70}, "/srv"})); }

TEST_F(UserTest, ANumberNeedsNoEntry) { EXPECT_EQ(Resolve("1234"), (Credentials{1234, 0, {}, "/"})); }

TEST_F(UserTest, AGroupReplacesAllOthers) {
  EXPECT_EQ(Resolve("web:adm"), (Credentials{33, 60, {}, "/srv"}));
  EXPECT_EQ(Resolve("33:7"), (Credentials{33, 7, {}, "/srv"}));
  EXPECT_EQ(Resolve("9:adm"), (Credentials{9, 60, {}, "/"}));
}

TEST_F(UserTest, TheLastLineNeedsNoNewline) { EXPECT_EQ(Resolve("last"), (Credentials{50, 51, {}, "/l"})); }

TEST_F(UserTest, UnknownNamesAreNotFound) {
  EXPECT_EQ(KindOf("nobody"), ErrorKind::kNotFound);
  EXPECT_EQ(KindOf("web:nogroup"), ErrorKind::kNotFound);
}

TEST_F(UserTest, DamagedEntriesAreNoEntries) {
  for (const char* name : {"broken", "high", "short", "nogroup"}) EXPECT_EQ(KindOf(name), ErrorKind::kNotFound) << name;
}

TEST_F(UserTest, RefusesSloppyNumbers) {
  for (const char* spec :
       {":", "web:", ":adm", "1:2:3", "-1", "4294967295", "99999999999999999999", "0:4294967295", "+5", "1:-1"})
    EXPECT_EQ(KindOf(spec), ErrorKind::kUsage) << spec;
  EXPECT_EQ(KindOf("33x"), ErrorKind::kNotFound);  // a name, and never 33
  EXPECT_EQ(KindOf(" 33"), ErrorKind::kNotFound);
}

TEST_F(UserTest, ARootWithoutAccountsHasRoot) {
  TempDir empty;
  EXPECT_EQ(ResolveUser(empty.dir(), ""), (Credentials{0, 0, {}, "/root"}));
}

TEST_F(UserTest, LinksStayInsideTheRoot) {
  unlink((root_.path() + "/etc/passwd").c_str());
  ASSERT_EQ(symlink("/../../../../etc/passwd2", (root_.path() + "/etc/passwd").c_str()), 0);
  Write("etc/passwd2", "inside:x:7:7::/in:\n");
  EXPECT_EQ(Resolve("inside").uid, 7U);
}

TEST_F(UserTest, AccountsThatAreNoFileAreRefused) {  // CVE-2024-9676
  const std::string path = root_.path() + "/etc/passwd";
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0644), 0);
  EXPECT_EQ(KindOf("web"), ErrorKind::kCorrupt);
  unlink(path.c_str());
  if (geteuid() == 0) {
    ASSERT_EQ(mknod(path.c_str(), S_IFCHR | 0644, makedev(1, 5)), 0);  // an endless file
    EXPECT_EQ(KindOf("web"), ErrorKind::kCorrupt);
    unlink(path.c_str());
  }
  Write("etc/passwd", std::string(kMaxAccountFileBytes + 1, 'x'));
  EXPECT_EQ(KindOf("web"), ErrorKind::kCorrupt);
}

TEST_F(UserTest, TooManyGroupsAreRefused) {
  std::string groups;
  for (int i = 100; i < 1200; ++i) groups += "g:x:" + std::to_string(i) + ":web\n";
  Write("etc/group", groups);
  EXPECT_EQ(KindOf("web"), ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace gantry::runner
