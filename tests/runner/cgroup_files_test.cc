#include "runner/cgroup_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace gantry::runner {
namespace {

const std::string kTop = kCgroupTop;

bool IsTop(int fd) {
  struct stat found {};
  struct stat top {};
  return fstat(fd, &found) == 0 && stat(kCgroupTop, &top) == 0 && found.st_dev == top.st_dev &&
         found.st_ino == top.st_ino;
}

TEST(CgroupFilesTest, OnlyWhatIsBelowTheTopIsLookedUpFromThere) {
  for (const std::string& path : {kTop, kTop + "/", kTop + "2/group", std::string("/proc/self/cgroup")}) {
    const CgroupPath at = FromTop(path);
    EXPECT_EQ(at.from, AT_FDCWD) << path;
    EXPECT_EQ(at.path, path);
  }
  if (access(kCgroupTop, F_OK) != 0)
    GTEST_SKIP() << "no " << kCgroupTop;
  const std::string group = kTop + "/memory/group";
  const CgroupPath at = FromTop(group);
  EXPECT_TRUE(IsTop(at.from));
  EXPECT_STREQ(at.path, "memory/group");
}

// As a process does that is forked, and keeps nothing of its parent's.
TEST(CgroupFilesTest, TheTopIsFoundAgainWhenItsDescriptorHasBecomeAnothers) {
  if (access(kCgroupTop, F_OK) != 0)
    GTEST_SKIP() << "no " << kCgroupTop;
  const std::string group = kTop + "/memory/group";
  const int before = FromTop(group).from;
  const int other = open("/", O_PATH | O_CLOEXEC);
  ASSERT_GE(dup3(other, before, O_CLOEXEC), 0);
  const int after = FromTop(group).from;
  EXPECT_NE(after, before);
  EXPECT_TRUE(IsTop(after));
  EXPECT_FALSE(IsTop(before));
  close(other);
  close(before);
}

}  // namespace
}  // namespace gantry::runner
