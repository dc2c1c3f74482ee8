#include "runner/vm/root_image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/confine/confine.h"
#include "runner/confined_program.h"
#include "runner/launch.h"
#include "runner/report.h"
#include "runner/setup_steps.h"

namespace gantry::runner::vm {
namespace {

constexpr size_t kChainDigits = 20;
constexpr size_t kMaxDigestFile = 256;
constexpr size_t kMaxFailureBytes = 64 * 1024;
constexpr const char* kImageFile = "root";
constexpr const char* kDigestFile = "digest";

std::vector<std::string> Command(const RootMaker& maker, const Digest& chain, const std::string& tree,
                                 const std::string& out) {
  if (maker.type == "squashfs")
    return {maker.program, tree, out, "-noappend", "-no-progress", "-quiet", "-comp", "gzip"};
  // A name of its own for the same layers, always.
  std::string id = chain.hex().substr(0, 32);
  for (const size_t at : {20UL, 16UL, 12UL, 8UL}) id.insert(at, "-");
  return {maker.program, "--quiet", "-zlz4", "-U" + id, out, tree};
}

Digest ChainOf(const image::Image& image) {
  std::string text;
  for (const Digest& diff_id : image.config.diff_ids) text += diff_id.str() + "\n";
  return Digest::Of(text);
}

Digest HashFile(int fd, std::string_view what) {
  Hasher hasher;
  std::vector<std::byte> buffer(kBlockBytes);
  for (uint64_t at = 0;;) {
    const size_t count = ReadFullAt(fd, at, buffer, what);
    hasher.Update(std::span(buffer).first(count));
    if (count < buffer.size())
      return hasher.Finish();
    at += count;
  }
}

// Waits at the other end of `reports` for why the overlay could not be mounted.
void ThrowReport(int reports, const Rootfs& rootfs) {
  const auto received = ReceiveReport(reports);
  if (!received || received->report.kind != Report::kFailed)
    return;
  const size_t i = received->report.index;
  const bool named = received->report.step == Step::kOpenLayer && i < rootfs.layers.size();
  throw DescribeFailure(received->report, named ? " " + Quoted(rootfs.layers[i]) : "", "").error;
}

// In the child that makes the image: the layers as one tree at `top`/tree, in a mount namespace of its own.
std::string MountTree(const Rootfs& rootfs, const std::string& top, int control) {
  if (unshare(CLONE_NEWNS) < 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
      mount("tmpfs", top.c_str(), "tmpfs", MS_NODEV | MS_NOSUID, "mode=755") < 0)
    ThrowErrno("make a place to mount the layers");
  std::string tree = top + "/tree";
  const std::string upper = top + "/upper";
  const std::string work = top + "/work";
  for (const std::string& dir : {tree, upper, work}) {
    if (mkdir(dir.c_str(), 0755) < 0)
      ThrowErrno("make the directory " + dir);
  }
  std::vector<const char*> layers;
  for (const std::string& layer : rootfs.layers) layers.push_back(layer.c_str());
  SetupPlan plan;
  plan.user_xattrs = rootfs.user_xattrs;
  plan.layers = layers.data();
  plan.layer_count = layers.size();
  plan.upper = upper.c_str();
  plan.work = work.c_str();
  plan.mount_point = tree.c_str();
  // A failure is reported at this number, and ends this child.
  if (dup3(control, kControlFd, O_CLOEXEC) < 0)
    ThrowErrno("duplicate a descriptor");
  MountRoot(plan);
  return tree;
}

image::Confinement MakerConfinement(const std::string& tree, const std::string& out) {
  image::Confinement keep;
  keep.read = image::SystemFiles();
  keep.read.push_back(tree);
  keep.write = {out};
  keep.execute = image::SystemPrograms();
  keep.unix_sockets = false;
  keep.capabilities = {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_SYS_ADMIN};
  return keep;
}

int RunMaker(const RootMaker& maker, const Digest& chain, const Rootfs& rootfs, const std::string& out, int control) {
  // The pod's or the store's own directory would be in the way of others: one of the image that is being made.
  const std::string tree = MountTree(rootfs, out + "/mount", control);
  image::Confine(MakerConfinement(tree, out));
  const Captured made = RunCaptured(Command(maker, chain, tree, out + "/" + kImageFile), "", kMaxFailureBytes);
  if (made.status.code != 0)
    throw Error(ErrorKind::kFailed, maker.program + " ended with " + std::to_string(made.status.code),
                "see what it said above");
  return 0;
}

// The child does the work that needs mounts; the reports of the mount, and errors of all else, come by sockets.
void MakeInChild(const RootMaker& maker, const Digest& chain, const std::optional<IdMap>& map, const Rootfs& rootfs,
                 const std::string& out) {
  Pipe failure = MakePipe();
  auto ends = SocketPair(SOCK_SEQPACKET);
  const UniqueFd reports = std::move(ends.first);
  // Above the number at which the child needs them.
  UniqueFd control = AboveControl(ends.second.get());
  UniqueFd errors = AboveControl(failure.write.get());
  ends.second.Reset();
  failure.write.Reset();
  const auto body = [&] {
    return ReportErrors(errors.get(), [&] { RunMaker(maker, chain, rootfs, out, control.get()); });
  };
  const ExitStatus status = map ? RunInUserNamespace(*map, body) : gantry::Process::Fork(body).Wait();
  control.Reset();
  errors.Reset();
  ReceiveMessage(failure.read.get(), {3, kMaxFailureBytes, "the process that makes the root image"});
  ThrowReport(reports.get(), rootfs);
  if (status.code != 0)
    throw Error(ErrorKind::kFailed, "the process that makes the root image ended early");
}

std::optional<RootImage> Find(const image::Store& store, const image::Image& image, const std::string& variant,
                              const std::string& type) {
  const auto dir = store.RenderedLayer(image.config.diff_ids.back(), variant);
  if (!dir)
    return std::nullopt;
  std::string digest = dir->ReadFile(RelPath::Parse(kDigestFile), kMaxDigestFile);
  digest = digest.substr(0, digest.find('\n'));
  return RootImage{dir->OpenBeneath(RelPath::Parse(kImageFile), O_RDONLY), type, dir->name(), Digest::Parse(digest)};
}

void Make(const RootMaker& maker, const image::Image& image, image::Store& store, const std::optional<IdMap>& map,
          const Rootfs& rootfs, const std::string& variant) {
  const auto incoming = store.AddLayer(image.config.diff_ids.back(), variant);
  const Dir& dir = incoming->dir();
  const RelPath mount_point = RelPath::Parse("mount");
  const Dir point = dir.MakeDirs(mount_point);
  std::string path = RealPath("/proc/self/fd/" + std::to_string(dir.fd()));
  MakeInChild(maker, ChainOf(image), map, rootfs, path);
  const RelPath name = RelPath::Parse(kImageFile);
  const UniqueFd file = dir.OpenBeneath(name, O_RDONLY);
  // For a user that is none of ours: the machine's.
  if (fchmod(file.get(), 0444) < 0)
    ThrowErrno("set the mode of the root image");
  StagedFile digest(dir);
  WriteFull(digest.fd(), AsBytes(HashFile(file.get(), "the root image").str() + "\n"), kDigestFile);
  digest.Commit(RelPath::Parse(kDigestFile), false);
  dir.RemoveTree(mount_point);
  incoming->Commit();
}

}  // namespace

RootMaker FindRootMaker() {
  if (std::string program = FindHostProgram("mkfs.erofs"); !program.empty())
    return {"erofs", std::move(program)};
  if (std::string program = FindHostProgram("mksquashfs"); !program.empty())
    return {"squashfs", std::move(program)};
  throw Error(ErrorKind::kUnsupported, "a virtual machine needs its root as a file system image, and nothing makes one",
              "install erofs-utils (mkfs.erofs) or squashfs-tools (mksquashfs)");
}

RootImage OpenRootImage(const RootMaker& maker, const image::VerifiedImage& verified, image::Store& store,
                        const std::optional<IdMap>& map, const Rootfs& rootfs) {
  const image::Image& image = verified.image();
  // "e" or "s", and what the layers are told apart by.
  const std::string variant =
      maker.type.substr(0, 1) + ChainOf(image).hex().substr(0, kChainDigits) + (map ? map->Variant() : "");
  if (auto found = Find(store, image, variant, maker.type))
    return *std::move(found);
  Make(maker, image, store, map, rootfs, variant);
  auto made = Find(store, image, variant, maker.type);
  if (!made)
    throw Error(ErrorKind::kFailed, "the root image that was just made is gone",
                "is something else removing files from the store? try again");
  return *std::move(made);
}

void CheckRootImage(const RootImage& image) {
  if (HashFile(image.file.get(), "the root image") != image.digest)
    throw Error(ErrorKind::kCorrupt,
                "the root image " + Quoted(image.path) + " is not what was made of the verified image",
                "something changed it; remove " + Quoted(image.path) + ", and the next run makes it anew");
}

}  // namespace gantry::runner::vm
