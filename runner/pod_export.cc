#include "runner/pod_export.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <memory>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/base/stream.h"
#include "libimage/layer/changes.h"
#include "runner/rootfs.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxFailureBytes = 64 * 1024;

void Configure(int context, const char* key, const std::string& value) {
  if (fsconfig(context, FSCONFIG_SET_STRING, key, value.c_str(), 0) < 0)
    ThrowErrno("stack the layers of the app");
}

// All layers, the topmost first, as one tree that nobody else sees.
Dir MountStack(const std::vector<std::string>& layers, bool user_xattrs) {
  if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    ThrowErrno("make a mount namespace");
  const UniqueFd context(fsopen("overlay", FSOPEN_CLOEXEC));
  if (!context)
    ThrowErrno("mount with overlayfs");
  for (const std::string& layer : layers) Configure(context.get(), "lowerdir+", layer);
  if (user_xattrs && fsconfig(context.get(), FSCONFIG_SET_FLAG, "userxattr", nullptr, 0) < 0)
    ThrowErrno("mount with overlayfs");
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    ThrowErrno("stack the layers of the app");
  const UniqueFd made(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV));
  if (!made)
    ThrowErrno("mount the layers of the app");
  return Dir(UniqueFd(openat(made.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), "the root of the app");
}

}  // namespace

void ExportApp(const Dir& pods, const PodRecord& pod, const std::string& app, const image::Store& store,
               const std::optional<IdMap>& map, int into) {
  const AppPlan& plan = pod.App(app);
  Rootfs rootfs = FindRootfs(plan.diff_ids, store, map);
  const std::string base = RealPath(pods.name()) + "/" + pod.uuid();
  rootfs.layers.insert(rootfs.layers.begin(),
                       pod.plan().apps.size() == 1 ? base + "/upper" : base + "/apps/" + plan.name + "/upper");
  // Overlayfs stacks two at least when nothing is to be written.
  if (rootfs.layers.size() == 1)
    throw Error(ErrorKind::kUnsupported, "the image of app " + Quoted(plan.name) + " has no layers");
  Pipe failure = MakePipe();
  const auto body = [&] {
    failure.read.Reset();
    return ReportErrors(failure.write.get(), [&] {
      const Dir tree = MountStack(rootfs.layers, rootfs.user_xattrs);
      const std::unique_ptr<Sink> sink = FdSink(into, "the tar");
      image::Changes(image::TreeStack({}, image::UnpackOptions::Whiteouts::kOverlayTrusted), tree, {.whole_tree = true})
          .Write(*sink);
    });
  };
  const ExitStatus status = map ? RunInUserNamespace(*map, body) : Process::Fork(body).Wait();
  failure.write.Reset();
  ReceiveMessage(failure.read.get(), {3, kMaxFailureBytes, "the process that exports"});
  if (status.code != 0)
    throw Error(ErrorKind::kFailed, "the process that exports ended early");
}

}  // namespace gantry::runner
