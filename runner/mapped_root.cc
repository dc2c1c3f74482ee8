#include "runner/mapped_root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "runner/idmapped_mount.h"
#include "runner/launch.h"
#include "runner/setup_steps.h"

namespace gantry::runner {
namespace {

struct Covered {
  std::string path;
  UniqueFd tree;
};

// Overlayfs works in its directories as whoever mounts it, whose ids have to be among those that are shown there.
// Changing them takes the capabilities over files away, which are taken back.
void ActAs(uint32_t uid, uint32_t gid) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  setfsgid(gid);
  setfsuid(uid);
  if (syscall(SYS_capget, &header, data) < 0)
    FailSetup(Step::kOverlay, errno);
  for (__user_cap_data_struct& half : data) half.effective = half.permitted;
  if (syscall(SYS_capset, &header, data) < 0)
    FailSetup(Step::kOverlay, errno);
}

// In a process and a mount namespace of its own, where each directory is covered by what it is shown as; the kernel
// stacks mounts that are attached nowhere only since 6.15.
int StackCovered(const SetupPlan& plan, const std::vector<Covered>& covered, const IdMap& map) {
  if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    FailSetup(Step::kPrivateMounts, errno);
  for (const Covered& one : covered) {
    if (move_mount(one.tree.get(), "", AT_FDCWD, one.path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0)
      FailSetup(Step::kOverlay, errno);
  }
  ActAs(map.OutsideUid(0), map.gids.front().outside);
  const int root = MountRoot(plan);
  const int tree = open_tree(root, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  if (tree < 0)
    FailSetup(Step::kAttachRoot, errno);
  SendDescriptor(Report::kRoot, tree, Step::kAttachRoot);
  return 0;
}

}  // namespace

MappedRoot MakeMappedRoot(const SetupPlan& plan, const UniqueFd& user_namespace, const IdMap& map) {
  std::vector<Covered> covered;
  const auto cover = [&](const char* path) {
    for (const Covered& other : covered) {
      if (other.path == path)
        return;
    }
    covered.push_back({path, AboveControl(OpenTree(path, false, true).get())});
    MapIds(covered.back().tree.get(), user_namespace, false);
  };
  for (size_t i = 0; i < plan.layer_count; ++i) cover(plan.layers[i]);
  cover(plan.mount_point);
  auto ends = SocketPair(SOCK_SEQPACKET);
  gantry::Process helper = gantry::Process::Fork([&, socket = ends.second.get()]() -> int {
    if (dup2(socket, kControlFd) < 0)
      return 1;
    return StackCovered(plan, covered, map);
  });
  ends.second.Reset();
  auto received = ReceiveReport(ends.first.get());
  helper.Wait();
  if (!received)
    throw Error(ErrorKind::kFailed, "the process that mounts the container's root ended early",
                "was it killed? see the kernel's log for 'Out of memory'");
  return {std::move(received->fd), received->report};
}

}  // namespace gantry::runner
