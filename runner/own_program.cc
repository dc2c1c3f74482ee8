#include "runner/own_program.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxArgumentBytes = 8 * 1024 * 1024;

}  // namespace

void RunFromReadOnlyMount() {
  const UniqueFd self = OpenFile("/proc/self/exe", O_PATH);
  struct statfs status {};
  if (fstatfs(self.get(), &status) < 0)
    ThrowErrno("look at the file system of this program");
  if ((status.f_flags & ST_RDONLY) != 0) {
    prctl(PR_SET_NAME, program_invocation_short_name);  // older kernels name it after a descriptor
    return;
  }
  const UniqueFd mount(open_tree(self.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  mount_attr change{};
  change.attr_set = MOUNT_ATTR_RDONLY;
  if (!mount || mount_setattr(mount.get(), "", AT_EMPTY_PATH, &change, sizeof change) < 0)
    ThrowErrno("make this program read-only");
  const UniqueFd line = OpenFile("/proc/self/cmdline", O_RDONLY);
  std::string texts = ReadAll(line.get(), kMaxArgumentBytes, "/proc/self/cmdline");
  std::vector<char*> arguments;
  for (size_t at = 0; at < texts.size(); at = texts.find('\0', at) + 1) arguments.push_back(texts.data() + at);
  arguments.push_back(nullptr);
  syscall(SYS_execveat, mount.get(), "", arguments.data(), environ, AT_EMPTY_PATH);
  ThrowErrno("execute this program anew");
}

}  // namespace gantry::runner
