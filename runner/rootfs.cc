#include "runner/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/base/workers.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/unpack.h"
#include "runner/outlines.h"

namespace gantry::runner {
namespace {

using image::IncomingLayer;
using image::UnpackOptions;

constexpr size_t kChainDigits = 20;
constexpr size_t kMaxXattrList = 64 * 1024;
constexpr size_t kMaxFailureBytes = 64 * 1024;

// Where one layer of this image is, or will be, in the store.
struct Slot {
  Digest diff_id;
  std::string plain;  // variant of a layer that needs nothing from below
  std::string chain;  // variant of one that does: also says on what it lies
};

std::vector<Slot> SlotsOf(const std::vector<Digest>& diff_ids, const std::optional<IdMap>& map) {
  std::vector<Slot> out;
  const std::string plain = map ? map->Variant() : "";
  std::string below;
  for (const Digest& diff_id : diff_ids) {
    below += diff_id.str() + "\n";
    out.push_back({diff_id, plain, plain + "c" + Digest::Of(below).hex().substr(0, kChainDigits)});
  }
  return out;
}

std::optional<Dir> Find(const image::Store& store, const Slot& slot) {
  if (auto found = store.RenderedLayer(slot.diff_id, slot.plain))
    return found;
  return store.RenderedLayer(slot.diff_id, slot.chain);
}

std::vector<std::optional<Dir>> FindAll(const image::Store& store, const std::vector<Slot>& slots) {
  std::vector<std::optional<Dir>> out;
  for (const Slot& slot : slots) out.push_back(Find(store, slot));
  return out;
}

std::string AbsolutePath(const Dir& dir) {
  std::array<char, 4096> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(dir.fd());
  const ssize_t size = readlink(link.c_str(), path.data(), path.size() - 1);
  if (size <= 0 || path[0] != '/')
    ThrowErrno("find the path of " + dir.name());
  return {path.data(), static_cast<size_t>(size)};
}

void CopyXattrs(int from, int to) {
  std::vector<char> names(kMaxXattrList);
  const ssize_t size = flistxattr(from, names.data(), names.size());
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::strlen(&names[static_cast<size_t>(at)])) + 1) {
    const char* name = &names[static_cast<size_t>(at)];
    std::vector<char> value(kMaxXattrList);
    const ssize_t length = fgetxattr(from, name, value.data(), value.size());
    if (length < 0 || fsetxattr(to, name, value.data(), static_cast<size_t>(length), 0) < 0)
      ThrowErrno("copy the extended attribute " + Quoted(name));
  }
}

// All of a layer into another place: its names, and what its root is.
void MoveTree(const Dir& from, const Dir& to) {
  struct stat status {};  // before its time changes
  if (fstat(from.fd(), &status) < 0)
    ThrowErrno("stat a layer");
  for (const std::string& name : from.List()) {
    if (renameat(from.fd(), name.c_str(), to.fd(), name.c_str()) < 0)
      ThrowErrno("move " + Quoted(name));
  }
  CopyXattrs(from.fd(), to.fd());
  const timespec times[2] = {status.st_atim, status.st_mtim};
  if (fchown(to.fd(), status.st_uid, status.st_gid) < 0 || fchmod(to.fd(), status.st_mode & 07777) < 0 ||
      futimens(to.fd(), times) < 0)
    ThrowErrno("set the attributes of a layer's root");
}

// The work of the child: one image, some layers of which are there.
class Renderer {
 public:
  Renderer(const image::Image& image, const image::Blobs& blobs, image::Store& store, std::vector<Slot> slots,
           UnpackOptions options, Progress& progress, bool identity)
      : image_(image),
        blobs_(blobs),
        store_(store),
        slots_(std::move(slots)),
        options_(options),
        progress_(progress),
        identity_(identity) {
    for (const Slot& slot : slots_) {
      layers_.emplace_back();
      layers_.back().done = Find(store_, slot);
    }
  }

  // All missing layers at once, then from the base up what needs the layers below. None has its name yet.
  void Unpack() {
    std::vector<size_t> missing;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (!layers_[i].done)
        missing.push_back(i);
    }
    if (missing.size() == layers_.size() && identity_)
      outlines_.emplace(image_, store_);
    // The largest first, so that no thread ends long after the others.
    std::ranges::stable_sort(missing, std::greater<>(), [&](size_t i) { return image_.manifest.layers[i].size; });
    unfinished_ = missing.size();
    RunParallel(missing.size(), processors_, [&](size_t n) { Unpack(missing[n]); });
    std::ranges::sort(missing);
    for (const size_t i : missing) Complete(i);
  }

  void Commit() {
    for (Layer& layer : layers_) {
      if (layer.incoming)
        layer.incoming->Commit();
    }
    if (outlines_)
      outlines_->Keep();
  }

 private:
  struct Layer {
    std::optional<Dir> done;
    std::unique_ptr<IncomingLayer> incoming;
    image::Pending pending;
    const Dir& dir() const { return done ? *done : incoming->dir(); }
  };

  void Unpack(size_t index) {
    Layer& layer = layers_[index];
    const std::string what = image::LayerName(image_, index);
    const image::Descriptor& blob = image_.manifest.layers[index];
    const int task = progress_.Begin(what, 0);
    layer.incoming = store_.AddLayer(slots_[index].diff_id, slots_[index].plain);
    // A layer takes a second processor when no other layer is left for it.
    auto tar = Tap(image::OpenLayerAmong(blobs_, image_, index, [this] { return unfinished_ < processors_; }),
                   [&](std::span<const std::byte> bytes) { progress_.Advance(task, bytes.size()); });
    UnpackOptions options = options_;
    options.also = outlines_ ? outlines_->Begin(index) : nullptr;
    image::UnpackResult result = image::UnpackLayer(std::move(tar), layer.incoming->dir(), options, what);
    if (outlines_)
      outlines_->End(index);
    layer.pending = std::move(result.pending);
    --unfinished_;
    progress_.End(task, blob.size == 0 ? "empty" : "rendered");
  }

  void Complete(size_t index) {
    Layer& layer = layers_[index];
    if (layer.pending.empty())
      return;
    std::vector<const Dir*> lowers;
    for (size_t below = index; below-- > 0;) {
      lowers.push_back(&layers_[below].dir());
      if (image::HidesAllBelow(layers_[below].dir(), options_.whiteouts))
        break;
    }
    const std::string what = image::LayerName(image_, index);
    image::CompleteLayer(layer.incoming->dir(), layer.pending, lowers, options_, what);
    auto chained = store_.AddLayer(slots_[index].diff_id, slots_[index].chain);
    MoveTree(layer.incoming->dir(), chained->dir());
    layer.incoming = std::move(chained);
  }

  const image::Image& image_;
  const image::Blobs& blobs_;
  image::Store& store_;
  std::vector<Slot> slots_;
  UnpackOptions options_;
  Progress& progress_;
  bool identity_;
  std::optional<Outlines> outlines_;
  std::vector<Layer> layers_;
  const size_t processors_ = ProcessorCount();
  std::atomic<size_t> unfinished_ = 0;  // of those that are unpacked
};

// `layers`: where those of the slots were found.
Rootfs Stack(const std::vector<Slot>& slots, const std::vector<std::optional<Dir>>& layers,
             const std::optional<IdMap>& map) {
  const auto whiteouts = map ? UnpackOptions::Whiteouts::kOverlayUser : UnpackOptions::Whiteouts::kOverlayTrusted;
  Rootfs out;
  out.user_xattrs = map.has_value();
  for (size_t i = slots.size(); i-- > 0;) {
    if (!layers[i])
      throw Error(ErrorKind::kNotFound, "the rendered layer " + slots[i].diff_id.str() + " is gone",
                  "is something else removing files from the store? try again");
    out.layers.push_back(AbsolutePath(*layers[i]));
    // overlayfs does not look at the mark on a layer's root.
    if (image::HidesAllBelow(*layers[i], whiteouts))
      break;
  }
  return out;
}

void RenderInChild(const std::optional<IdMap>& map, const std::function<void()>& work) {
  Pipe failure = MakePipe();
  const auto body = [&] {
    failure.read.Reset();
    return ReportErrors(failure.write.get(), work);
  };
  const ExitStatus status = map ? RunInUserNamespace(*map, body) : gantry::Process::Fork(body).Wait();
  failure.write.Reset();
  ReceiveMessage(failure.read.get(), {3, kMaxFailureBytes, "the process that renders layers"});
  if (status.code != 0)
    throw Error(
        ErrorKind::kFailed, "the process that renders layers ended early",
        status.signalled ? "was it killed? see the kernel's log for 'Out of memory'" : "see what it said above");
}

}  // namespace

image::Confinement RendererConfinement(const std::string& root) {
  image::Confinement keep;
  keep.read = image::SystemFiles();
  keep.write = {root};
  keep.unix_sockets = false;
  keep.capabilities = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP, CAP_SYS_ADMIN};
  return keep;
}

Rootfs Render(const image::VerifiedImage& verified, image::Store& store, const std::optional<IdMap>& map,
              const Rendering& how) {
  const image::Image& image = verified.image();
  const std::vector<Slot> slots = SlotsOf(image.config.diff_ids, map);
  UnpackOptions options;
  if (map) {
    options.whiteouts = UnpackOptions::Whiteouts::kOverlayUser;
    options.keep_owners = !map->single();
  }
  const std::vector<std::optional<Dir>> layers = FindAll(store, slots);
  if (std::ranges::all_of(layers, [](const auto& layer) { return layer.has_value(); }))
    return Stack(slots, layers, map);
  // Of this process, for the child could not end one of its own.
  const std::unique_ptr<image::Lease> lease = store.NewLease();
  lease->Add({image.descriptor.digest});
  RenderInChild(map, [&] {
    image::Confine(how.keep);
    std::optional<Renderer> renderer;
    how.open([&](const image::Blobs& blobs, Progress& progress) {
      renderer.reset();
      renderer.emplace(image, blobs, store, slots, options, progress, how.identity).Unpack();
    });
    renderer.value().Commit();
  });
  return FindRootfs(image.config.diff_ids, store, map);
}

Rootfs FindRootfs(const std::vector<Digest>& diff_ids, const image::Store& store, const std::optional<IdMap>& map) {
  const std::vector<Slot> slots = SlotsOf(diff_ids, map);
  return Stack(slots, FindAll(store, slots), map);
}

}  // namespace gantry::runner
