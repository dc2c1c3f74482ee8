#include "runner/mount_keeper.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>

#include "libimage/base/fd.h"

namespace gantry::runner {
namespace {

// A process in a mount namespace of its own, and the name of that; -1 where none can be made.
pid_t StartInNamespace(std::string& space) {
  Pipe ready = MakePipe();
  const pid_t pid = fork();
  if (pid == 0) {
    const char good = unshare(CLONE_NEWNS) == 0 ? 1 : 0;
    if (write(ready.write.get(), &good, 1) == 1)
      pause();
    _exit(0);
  }
  char good = 0;
  if (read(ready.read.get(), &good, 1) == 1 && good == 1) {
    space = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/ns/mnt");
    return pid;
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return -1;
}

std::set<pid_t> Children() {
  std::ifstream text("/proc/self/task/" + std::to_string(gettid()) + "/children");
  return {std::istream_iterator<pid_t>(text), std::istream_iterator<pid_t>()};
}

TEST(MountKeeper, HoldsTheNamespaceAndNothingElseUntilItIsLetGo) {
  std::string space;
  const pid_t container = StartInNamespace(space);
  if (container < 0)
    GTEST_SKIP() << "no mount namespaces to be made here";
  auto keeper = std::make_unique<MountKeeper>(container);
  const std::set<pid_t> before = Children();
  keeper->Begin();
  kill(container, SIGKILL);
  waitpid(container, nullptr, 0);

  std::set<pid_t> made = Children();
  std::erase_if(made, [&](pid_t pid) { return before.contains(pid); });
  ASSERT_EQ(made.size(), 1U);
  const pid_t process = *made.begin();
  const std::string open = "/proc/" + std::to_string(process) + "/fd";
  std::set<std::string> names;
  // It closes what it does not keep as its first act.
  for (int i = 0; i < 500 && names.size() != 2; ++i) {
    usleep(10'000);
    names.clear();
    for (const auto& entry : std::filesystem::directory_iterator(open)) names.insert(entry.path().filename());
  }
  EXPECT_EQ(names, (std::set<std::string>{"0", "1"}));
  EXPECT_EQ(std::filesystem::read_symlink(open + "/0"), space);
  EXPECT_EQ(waitpid(process, nullptr, WNOHANG), 0);

  keeper.reset();
  int status = -1;
  EXPECT_EQ(waitpid(process, &status, 0), process);
  EXPECT_EQ(status, 0);
}

TEST(MountKeeper, OfAProcessThatIsGoneKeepsNothing) {
  const pid_t gone = fork();
  if (gone == 0)
    _exit(0);
  waitpid(gone, nullptr, 0);
  const std::set<pid_t> before = Children();
  MountKeeper keeper(gone);
  keeper.Begin();
  EXPECT_EQ(Children(), before);
}

}  // namespace
}  // namespace gantry::runner
