#include "runner/early_network.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libimage/base/error.h"
#include "libimage/base/process.h"

namespace gantry::runner {
namespace {

// Of a namespace.
ino_t InodeOf(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

ino_t OwnNetwork() { return InodeOf(OpenFile("/proc/self/ns/net", O_RDONLY).get()); }

TEST(EarlyNetworkTest, IsMadeAtOnceByACallerWhoStaysInItsOwn) {
  if (geteuid() != 0)
    GTEST_SKIP() << "needs root";
  const ino_t before = OwnNetwork();
  const UniqueFd made = EarlyNetwork(EarlyNetwork::For::kNow).Take();
  ASSERT_TRUE(made);
  EXPECT_EQ(OwnNetwork(), before);
  EXPECT_NE(InodeOf(made.get()), before);
}

// Root of a user namespace that has the network of the host could leave it, and not come back.
TEST(EarlyNetworkTest, IsNotMadeWhereThereIsNoWayBack) {
  const ino_t before = OwnNetwork();
  const ExitStatus status = gantry::Process::Fork([&] {
                              if (unshare(CLONE_NEWUSER) < 0)
                                return 77;
                              const UniqueFd made = EarlyNetwork(EarlyNetwork::For::kNow).Take();
                              return made || OwnNetwork() != before ? 1 : 0;
                            }).Wait();
  if (status.code == 77)
    GTEST_SKIP() << "no user namespace can be made here";
  EXPECT_EQ(status.code, 0);
}

}  // namespace
}  // namespace gantry::runner
