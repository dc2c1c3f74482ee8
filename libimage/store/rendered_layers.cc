// Rendered layers of a LocalStore.
//
// A layer whose file data was lost by a power cut must not look whole, and a sync of a gigabyte before the first run is
// what users would wait for. So a new layer's name ends in the ID of the boot that made it: what the page cache holds
// is sound for as long as that boot lasts. After another boot the name is not looked at, and the layer is rendered
// again, unless SyncLayers came in between. Renames within layers/ keep the mode of a layer's root, even one that its
// owner may not write.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "libimage/base/error.h"
#include "libimage/store/local_store.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxVariantBytes = 32;
constexpr size_t kBootDigits = 32;

bool IsVariant(std::string_view text) {
  return text.size() <= kMaxVariantBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

bool IsBoot(std::string_view text) {
  return text.size() == kBootDigits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// False when the new name is taken.
bool RenameInto(const Dir& layers, const std::string& from, const std::string& to) {
  if (renameat2(layers.fd(), from.c_str(), layers.fd(), to.c_str(), RENAME_NOREPLACE) == 0)
    return true;
  // File systems that lack it replace an empty directory at most, and that is then the same layer.
  if (errno == EINVAL && renameat(layers.fd(), from.c_str(), layers.fd(), to.c_str()) == 0)
    return true;
  if (errno != EEXIST && errno != ENOTEMPTY)
    ThrowErrno("rename layer to " + Quoted(to) + " in " + Quoted(layers.name()));
  return false;
}

class StagedLayer final : public IncomingLayer {
 public:
  StagedLayer(const Dir& root, std::shared_ptr<LeaseFile> session, LayerName name)
      : session_(std::move(session)), name_(std::move(name)), layers_(root.OpenDir(RelPath::Parse("layers"))) {
    static std::atomic<uint64_t> counter{0};
    staging_ = std::string(kNewTreePrefix) + session_->id() + "." + std::to_string(counter.fetch_add(1));
    if (mkdirat(layers_.fd(), staging_.c_str(), 0700) < 0)
      ThrowErrno("create a layer in " + Quoted(layers_.name()));
    tree_.emplace(layers_.OpenDir(RelPath::Parse(staging_)));
    if (fchmod(tree_->fd(), 0755) < 0)
      ThrowErrno("set the mode of a layer in " + Quoted(layers_.name()));
  }

  ~StagedLayer() override {
    try {
      Discard();
    } catch (const Error&) {
      // It stays as a leftover, which collection removes.
    }
  }

  const Dir& dir() const override { return *tree_; }

  void Commit() override {
    LayerName on_disk = name_;
    on_disk.boot.clear();
    if (name_.boot.empty() && syncfs(tree_->fd()) < 0)
      ThrowErrno("sync a layer in " + Quoted(layers_.name()));
    if (layers_.Exists(RelPath::Parse(on_disk.ToString())) || !RenameInto(layers_, staging_, name_.ToString())) {
      Discard();
    }
    staging_.clear();
  }

 private:
  void Discard() {
    if (!staging_.empty())
      layers_.RemoveTree(RelPath::Parse(staging_));
    staging_.clear();
  }

  std::shared_ptr<LeaseFile> session_;
  LayerName name_;
  Dir layers_;
  std::string staging_;  // empty when there is nothing to remove
  std::optional<Dir> tree_;
};

}  // namespace

std::string LayerName::ToString() const {
  return FileNameOf(diff_id) + (variant.empty() ? "" : "." + variant) + (boot.empty() ? "" : "~" + boot);
}

std::optional<LayerName> LayerName::Parse(std::string_view name) {
  std::string boot;
  std::string variant;
  if (const size_t tilde = name.find('~'); tilde != std::string_view::npos) {
    boot = name.substr(tilde + 1);
    name = name.substr(0, tilde);
    if (!IsBoot(boot))
      return std::nullopt;
  }
  if (const size_t dot = name.find('.'); dot != std::string_view::npos) {
    variant = name.substr(dot + 1);
    name = name.substr(0, dot);
    if (variant.empty() || !IsVariant(variant))
      return std::nullopt;
  }
  const std::optional<Digest> diff_id = DigestOfFileName(name);
  if (!diff_id)
    return std::nullopt;
  return LayerName{*diff_id, std::move(variant), std::move(boot)};
}

std::optional<Dir> LocalStore::RenderedLayer(const Digest& diff_id, std::string_view variant) const {
  if (!IsVariant(variant))
    throw Error(ErrorKind::kFailed, "bad variant of a layer " + Quoted(variant));
  LayerName name{diff_id, std::string(variant), {}};
  // On disk, of this boot, and on disk again: SyncLayers may have renamed it between the first two looks.
  for (const std::string& boot : {std::string(), boot_, std::string()}) {
    name.boot = boot;
    const RelPath path = RelPath::Parse("layers/" + name.ToString());
    if (std::optional<UniqueFd> fd = root_->TryOpenBeneath(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
      return Dir(std::move(*fd), root_->name() + "/" + path.str());
  }
  return std::nullopt;
}

void LocalStore::RemoveDeadTrees() const {
  const std::vector<std::string> names = root_->OpenDir(RelPath::Parse("layers")).List();
  if (std::ranges::none_of(names, [](const std::string& name) {
        return name.starts_with(kNewTreePrefix) || name.starts_with(kOldTreePrefix);
      }))
    return;
  std::vector<Leftover> dead;
  {
    const FileLock lock(*root_, kCollectLock, LockMode::kExclusive);
    dead = FindLeftovers(*root_, ReadLeases(*root_));
  }
  for (const Leftover& leftover : dead) {
    try {
      if (leftover.path.str().starts_with("layers/"))
        root_->RemoveTree(leftover.path);
    } catch (const Error&) {
      // Another one takes it away as well, or it belongs to ids that are not ours: it stays for collection.
    }
  }
}

std::unique_ptr<IncomingLayer> LocalStore::AddLayer(const Digest& diff_id, std::string_view variant) {
  if (!IsVariant(variant))
    throw Error(ErrorKind::kFailed, "bad variant of a layer " + Quoted(variant));
  std::shared_ptr<LeaseFile> session = Session();
  std::call_once(swept_, [this] { RemoveDeadTrees(); });
  session->Add({diff_id});
  return std::make_unique<StagedLayer>(*root_, std::move(session), LayerName{diff_id, std::string(variant), boot_});
}

size_t LocalStore::SyncLayers() {
  RequireWritable();
  const Dir layers = root_->OpenDir(RelPath::Parse("layers"));
  std::vector<LayerName> of_this_boot;
  for (const std::string& name : layers.List()) {
    if (std::optional<LayerName> layer = LayerName::Parse(name); layer && !boot_.empty() && layer->boot == boot_)
      of_this_boot.push_back(std::move(*layer));
  }
  if (of_this_boot.empty())
    return 0;
  if (syncfs(layers.fd()) < 0)
    ThrowErrno("sync " + Quoted(layers.name()));
  size_t count = 0;
  std::shared_ptr<LeaseFile> own = Session();
  const FileLock lock(*root_, kCollectLock, LockMode::kExclusive);
  // Others may be about to mount what they lease, by its path.
  const LiveLeases others = ReadLeases(*root_, own->id());
  for (const LayerName& layer : of_this_boot) {
    if (others.digests.contains(layer.diff_id))
      continue;
    LayerName on_disk = layer;
    on_disk.boot.clear();
    if (layers.Exists(RelPath::Parse(layer.ToString())) && RenameInto(layers, layer.ToString(), on_disk.ToString()))
      ++count;
  }
  return count;
}

}  // namespace gantry::image
