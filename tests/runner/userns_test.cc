#include "runner/userns.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libimage/base/fd.h"
#include "tests/support/temp_dir.h"

namespace gantry::runner {
namespace {

using ::testing::HasSubstr;

TEST(IdMapTest, TakesTheLongestRangeOfTheUser) {
  const IdMap map =
      PlanIdMap("ann", 1000, 1001, "bob:1:99999\nann:100000:2000\n1000:300000:70000\nann:5:10\n", "ann:200000:65536\n");
  EXPECT_EQ(map.uids, (std::vector<IdRange>{{0, 1000, 1}, {1, 300000, 65536}}));
  EXPECT_EQ(map.gids, (std::vector<IdRange>{{0, 1001, 1}, {1, 200000, 65536}}));
  EXPECT_FALSE(map.single());
  EXPECT_TRUE(map.HasUid(65536));
  EXPECT_FALSE(map.HasUid(65537));
  EXPECT_EQ(map.Variant(), "u300000");
}

TEST(IdMapTest, WithoutARangeOnlyZeroIsMapped) {
  const IdMap map = PlanIdMap("ann", 1000, 1001, "bob:100000:65536\n", "ann:100000:65536\n");
  EXPECT_TRUE(map.single());
  EXPECT_THAT(map.note, HasSubstr("/etc/subuid has no range of at least 1000 ids for 'ann'"));
  EXPECT_EQ(map.Variant(), "u1000");
  EXPECT_FALSE(map.HasGid(5));
}

TEST(IdMapTest, DamagedRangesDoNotCount) {
  const std::string good = "ann:100000:65536\n";
  for (const std::string bad : {"ann:0:65536\n", "ann:1x:65536\n", "ann:100000:-1\n", "ann:4294967000:65536\n",
                                "ann:100000:10\n", "ann:100000\n", "ann\n", "::\n"})
    EXPECT_TRUE(PlanIdMap("ann", 1000, 1000, bad, good).single()) << bad;
}

// A process that is an ordinary user and has run `body`; its exit code.
int AsNobody(const std::function<int()>& body) {
  return Process::Fork([&]() -> int {
           if (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 ||
               setresuid(65534, 65534, 65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0)
             return 90;
           return body();
         })
      .Wait()
      .code;
}

// Not in a chroot, and not where the administrator forbids it.
bool UserNamespacesWork() {
  return AsNobody([] { return unshare(CLONE_NEWUSER) == 0 ? 0 : 1; }) == 0;
}

TEST(UserNamespaceTest, AJobIsRootInside) {
  if (geteuid() != 0)
    GTEST_SKIP() << "becomes an ordinary user, which needs root";
  if (!UserNamespacesWork())
    GTEST_SKIP() << "no user namespaces here";
  const int code = AsNobody(
      [] { return RunInUserNamespace(PlanIdMap(), [] { return geteuid() == 0 && getegid() == 0 ? 7 : 8; }).code; });
  EXPECT_EQ(code, 7);
}

TEST(UserNamespaceTest, AnExceptionInAJobIsExitCodeOne) {
  if (geteuid() != 0)
    GTEST_SKIP() << "becomes an ordinary user, which needs root";
  if (!UserNamespacesWork())
    GTEST_SKIP() << "no user namespaces here";
  EXPECT_EQ(AsNobody([] {
              return RunInUserNamespace(PlanIdMap(), []() -> int { throw Error(ErrorKind::kFailed, "x"); }).code;
            }),
            1);
}

TEST(UserNamespaceTest, RefusalSaysWhatToDo) {
  const Error error = gantry::testing::CaughtError([] { ThrowNoUserNamespace(EINVAL); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_FALSE(error.hint().empty());
}

}  // namespace
}  // namespace gantry::runner
