#include "runner/idmapped_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libimage/base/error.h"
#include "libimage/base/process.h"

namespace gantry::runner {
namespace {

// A user namespace with these maps, held by nothing but the descriptor.
UniqueFd MakeNamespace(const std::vector<IdRange>& uids, const std::vector<IdRange>& gids) {
  auto ends = SocketPair(SOCK_SEQPACKET);
  const UniqueFd ours = std::move(ends.first);
  UniqueFd theirs = std::move(ends.second);
  gantry::Process child = gantry::Process::Fork([&]() -> int {
    const int error = unshare(CLONE_NEWUSER) < 0 ? errno : 0;
    char go = 0;
    if (send(theirs.get(), &error, sizeof error, MSG_NOSIGNAL) < 0)
      return 1;
    return recv(theirs.get(), &go, 1, 0) < 0 ? 1 : 0;
  });
  int error = 0;
  if (recv(ours.get(), &error, sizeof error, 0) != sizeof error || error != 0)
    ThrowNoUserNamespace(error);
  ApplyIdMap(child.pid(), {uids, gids, {}});
  UniqueFd out = OpenFile("/proc/" + std::to_string(child.pid()) + "/ns/user", O_RDONLY);
  const char go = 1;
  if (send(ours.get(), &go, 1, MSG_NOSIGNAL) < 0)
    ThrowErrno("end a helper process");
  child.Wait();
  return out;
}

}  // namespace

UniqueFd OpenTree(const std::string& path, bool recursive, bool no_follow) {
  const unsigned flags =
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) | (no_follow ? AT_SYMLINK_NOFOLLOW : 0);
  UniqueFd out(open_tree(AT_FDCWD, path.c_str(), flags));
  if (!out)
    ThrowErrno("open the source " + Quoted(path) + " of a mount");
  mount_attr change{};
  change.propagation = MS_SLAVE;
  if (mount_setattr(out.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change) < 0)
    ThrowErrno("make the mount of " + Quoted(path) + " a slave");
  return out;
}

void MapIds(int tree, const std::vector<IdRange>& uids, const std::vector<IdRange>& gids, bool recursive) {
  MapIds(tree, MakeNamespace(uids, gids), recursive);
}

void MapIds(int tree, const UniqueFd& user_namespace, bool recursive) {
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_IDMAP;
  change.userns_fd = static_cast<uint64_t>(user_namespace.get());
  const unsigned flags = AT_EMPTY_PATH | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0U);
  if (mount_setattr(tree, "", flags, &change, sizeof change) == 0)
    return;
  if (errno == EINVAL || errno == EOPNOTSUPP)
    throw Error(ErrorKind::kUnsupported, "the file system of a mount cannot show its files under other ids",
                "leave the option 'idmap' out, or have the files on ext4, xfs, btrfs or a newer tmpfs");
  ThrowErrno("map the ids of a mount");
}

}  // namespace gantry::runner
