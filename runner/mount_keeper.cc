#include "runner/mount_keeper.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>

namespace gantry::runner {
namespace {

constexpr int kSpace = 0;
constexpr int kWait = 1;

struct Given {
  int space;
  int wait;
};

// Shares our memory, and so errno: none of these calls can fail. What it is given must outlive us.
int Keep(void* argument) {
  const Given& given = *static_cast<const Given*>(argument);
  char byte = 0;
  syscall(SYS_dup3, given.space, kSpace, 0);
  syscall(SYS_dup3, given.wait, kWait, 0);
  syscall(SYS_close_range, kWait + 1, ~0U, 0U);
  syscall(SYS_chdir, "/");
  return static_cast<int>(syscall(SYS_read, kWait, &byte, sizeof byte));
}

}  // namespace

MountKeeper::MountKeeper(pid_t container) {
  const std::string path = "/proc/" + std::to_string(container) + "/ns/mnt";
  space_ = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

void MountKeeper::Begin() {
  alignas(16) static std::array<char, 16 * 1024> stack;
  static Given given;
  if (!space_ || alive_)
    return;
  Pipe pipe = MakePipe();
  // Above what the copies are made to.
  const UniqueFd space(fcntl(space_.get(), F_DUPFD_CLOEXEC, kWait + 1));
  const UniqueFd wait(fcntl(pipe.read.get(), F_DUPFD_CLOEXEC, kWait + 1));
  given = {space.get(), wait.get()};
  if (clone(Keep, stack.data() + stack.size(), CLONE_VM | SIGCHLD, &given) > 0)
    alive_ = std::move(pipe.write);
  space_.Reset();
}

}  // namespace gantry::runner
