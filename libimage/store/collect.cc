// Collection of a LocalStore.
//
// What is needed: every entry of index.json, every live lease, every pod, and what those name in turn. That is found
// out twice. First without a lock, to read manifests at leisure; then under gc.lock, where only what is new is read. In
// the lock garbage is renamed out of sight, which takes moments; it is deleted after. Whoever adds takes gc.lock shared
// to write its lease before it looks whether a blob is there: either the collector sees the lease, or the other sees
// that the blob is gone.
#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>
#include <map>

#include "libimage/base/error.h"
#include "libimage/store/local_store.h"

namespace gantry::image {
namespace {

constexpr uint64_t kForeignLeftoverSeconds = 24 * 60 * 60;  // for names in tmp/ that no lease explains
constexpr size_t kMaxExpandDepth = kMaxIndexDepth + 2;      // indexes, a manifest, a configuration

// What blobs name. Blobs never change, so neither do answers; lists of referrers do, and are read each time.
class Expander {
 public:
  explicit Expander(const LocalStore& store) : store_(store) {}

  // Which manifests have a list of referrers: to be said before each round of Expand.
  void SetReferred(std::set<Digest> referred) { referred_ = std::move(referred); }

  // Adds `digest` and what it names, as far as it is here and can be read as a manifest or an index. With `strict`,
  // kCorrupt when it cannot.
  void Expand(const Digest& digest, bool strict, std::set<Digest>& into, size_t depth = 0) {
    into.insert(digest);
    for (const Digest& child : ChildrenOf(digest, strict)) {
      if (depth < kMaxExpandDepth && !into.contains(child)) {
        Expand(child, false, into, depth + 1);
      }
      into.insert(child);
    }
    if (!referred_.contains(digest))
      return;
    for (const Descriptor& referrer : store_.Referrers(digest)) {
      if (!into.contains(referrer.digest))
        Expand(referrer.digest, false, into, 0);
    }
  }

 private:
  const std::set<Digest>& ChildrenOf(const Digest& digest, bool strict) {
    static const std::set<Digest> kNone;
    if (const auto known = children_.find(digest); known != children_.end())
      return known->second;
    try {
      return children_.emplace(digest, ReadChildren(digest)).first->second;
    } catch (const Error& error) {
      if (!strict)
        return kNone;
      throw Error(ErrorKind::kCorrupt, "it cannot be told what is garbage: " + error.message(),
                  "see what is wrong with gantry store check, and remove that name or fetch the image again");
    }
  }

  std::set<Digest> ReadChildren(const Digest& digest) const {
    std::set<Digest> out;
    const ManifestOrIndex document = ParseManifest(store_.ReadBlob(digest, kMaxManifestBytes));
    if (const auto* index = std::get_if<Index>(&document)) {
      for (const Descriptor& manifest : index->manifests) out.insert(manifest.digest);
      return out;
    }
    const auto& manifest = std::get<Manifest>(document);
    for (const Descriptor& blob : manifest.Blobs()) out.insert(blob.digest);
    if (!manifest.IsArtifact() && store_.HasBlob(manifest.config.digest)) {
      const ImageConfig config = ImageConfig::Parse(store_.ReadBlob(manifest.config.digest, kMaxConfigBytes));
      out.insert(config.diff_ids.begin(), config.diff_ids.end());
    }
    return out;
  }

  const LocalStore& store_;
  std::set<Digest> referred_;
  std::map<Digest, std::set<Digest>> children_;
};

// Younger than `seconds`, or from the future.
bool IsYoung(const struct stat& status, uint64_t seconds) {
  const time_t now = time(nullptr);
  return seconds > 0 && (status.st_ctime > now || static_cast<uint64_t>(now - status.st_ctime) < seconds);
}

std::optional<Dir> TryOpenDir(const Dir& root, const std::string& name) {
  std::optional<UniqueFd> fd = root.TryOpenBeneath(RelPath::Parse(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd)
    return std::nullopt;
  return Dir(std::move(*fd), root.name() + "/" + name);
}

std::set<Digest> PodDigests(const Dir& root) {
  std::set<Digest> out;
  if (const std::optional<Dir> pods = TryOpenDir(root, "pods")) {
    for (const std::string& pod : pods->List()) out.merge(ReadDigestLines(*pods, RelPath::Parse(pod + "/image")));
  }
  return out;
}

std::set<Digest> ReferredIn(const Dir& root) {
  std::set<Digest> out;
  if (const std::optional<Dir> lists = TryOpenDir(root, "referrers")) {
    for (const std::string& name : lists->List()) {
      if (const std::optional<Digest> subject = DigestOfFileName(name))
        out.insert(*subject);
    }
  }
  return out;
}

// The ID of the lease in ".new-ID.N" after its prefix.
std::string OwnerOf(std::string_view name, std::string_view prefix) {
  name.remove_prefix(prefix.size());
  return std::string(name.substr(0, name.find('.')));
}

constexpr std::string_view kGonePrefix = "gone-";
constexpr std::string_view kLeasePrefix = "lease-";

bool IsDeadInTmp(const Dir& root, const std::string& name, const LiveLeases& live) {
  for (const std::string_view prefix : {kLeasePrefix, kGonePrefix}) {
    if (name.starts_with(prefix))
      return !live.ids.contains(OwnerOf(name, prefix));
  }
  const RelPath path = RelPath::Parse("tmp/" + name);
  const std::optional<struct stat> status = root.Stat(path);
  return status && !IsYoung(*status, kForeignLeftoverSeconds) &&
         (S_ISLNK(status->st_mode) || FileLock::IsFree(root, path));
}

}  // namespace

std::vector<Leftover> FindLeftovers(const Dir& root, const LiveLeases& live) {
  std::vector<Leftover> out;
  if (const auto tmp = TryOpenDir(root, "tmp")) {
    for (const std::string& name : tmp->List()) {
      if (IsDeadInTmp(root, name, live))
        out.push_back({RelPath::Parse("tmp/" + name), true});
    }
  }
  if (const auto layers = TryOpenDir(root, "layers")) {
    for (const std::string& name : layers->List()) {
      for (const std::string_view prefix : {kNewTreePrefix, kOldTreePrefix}) {
        if (name.starts_with(prefix) && !live.ids.contains(OwnerOf(name, prefix)))
          out.push_back({RelPath::Parse("layers/" + name), true});
      }
    }
  }
  for (const std::string directory : {"blobs/sha256", "blobs/sha512", "identities", "referrers"}) {
    const auto files = TryOpenDir(root, directory);
    for (const std::string& name : files ? files->List() : std::vector<std::string>()) {
      if (name.starts_with(kHiddenPrefix) && FileLock::IsFree(*files, RelPath::Parse(name)))
        out.push_back({RelPath::Parse(directory + "/" + name), false});
    }
  }
  for (const std::string& name : root.List()) {
    if (name.starts_with(kHiddenPrefix) && FileLock::IsFree(root, RelPath::Parse(name)))
      out.push_back({RelPath::Parse(name), false});
  }
  return out;
}

namespace {

// One collection under its locks: decides, and renames what goes.
class Collection {
 public:
  Collection(const Dir& root, const CollectOptions& options, const std::string& id, std::set<Digest> needed,
             std::set<Digest> in_use, std::string boot)
      : root_(root),
        options_(options),
        id_(id),
        needed_(std::move(needed)),
        in_use_(std::move(in_use)),
        boot_(std::move(boot)) {}

  void Decide(const LiveLeases& live) {
    for (const Leftover& leftover : FindLeftovers(root_, live)) {
      ++result_.leftovers;
      PutAside(leftover.path);
    }
    DecideBlobs("blobs/sha256", "sha256:");
    DecideBlobs("blobs/sha512", "sha512:");
    DecideLayers();
    result_.signatures = DecideByManifest("signatures") + DecideByManifest("referrers");
    result_.identities = DecideByManifest("identities");
  }

  // Without locks: deletes what Decide put aside. What resists does not keep the rest; it stays as a leftover.
  CollectResult Delete() {
    std::optional<Error> first;
    for (const RelPath& path : aside_) {
      try {
        root_.RemoveTree(path);
      } catch (const Error& error) {
        if (!first)
          first = error;
      }
    }
    if (first)
      throw Error(first->kind(), "some garbage cannot be removed: " + first->message(), first->hint());
    return result_;
  }

 private:
  void DecideBlobs(const std::string& directory, const std::string& algorithm) {
    const auto blobs = TryOpenDir(root_, directory);
    for (const std::string& name : blobs ? blobs->List() : std::vector<std::string>()) {
      const std::optional<Digest> digest = Digest::TryParse(algorithm + name);
      if (!digest || needed_.contains(*digest))
        continue;
      const std::optional<struct stat> status = blobs->Stat(RelPath::Parse(name));
      if (!status || IsYoung(*status, options_.keep_seconds))
        continue;
      ++result_.blobs;
      result_.bytes += static_cast<uint64_t>(status->st_size);
      PutAside(RelPath::Parse(directory + "/" + name));
    }
  }

  void DecideLayers() {
    const auto layers = TryOpenDir(root_, "layers");
    for (const std::string& name : layers ? layers->List() : std::vector<std::string>()) {
      const std::optional<LayerName> layer = LayerName::Parse(name);
      if (!layer)
        continue;
      // Nobody here can see a layer of another boot; on a shared file system another machine may run from it.
      const bool visible = layer->boot.empty() || layer->boot == boot_;
      if ((visible ? needed_ : in_use_).contains(layer->diff_id))
        continue;
      const std::optional<struct stat> status = layers->Stat(RelPath::Parse(name));
      if (!status || IsYoung(*status, options_.keep_seconds))
        continue;
      ++result_.layers;
      PutAside(RelPath::Parse("layers/" + name));
    }
  }

  // What is kept about manifests, under the names of their digests; returns how many went.
  uint64_t DecideByManifest(const std::string& directory) {
    uint64_t count = 0;
    const auto kept = TryOpenDir(root_, directory);
    for (const std::string& name : kept ? kept->List() : std::vector<std::string>()) {
      const std::optional<Digest> manifest = DigestOfFileName(name);
      if (!manifest || needed_.contains(*manifest))
        continue;
      const std::optional<struct stat> status = kept->Stat(RelPath::Parse(name));
      if (!status || IsYoung(*status, options_.keep_seconds))
        continue;
      ++count;
      PutAside(RelPath::Parse(directory + "/" + name));
    }
    return count;
  }

  // Trees stay in layers/: a rename to another directory needs the right to write to the tree itself.
  void PutAside(const RelPath& path) {
    if (options_.dry_run)
      return;
    const bool layer = path.str().starts_with("layers/");
    const RelPath to =
        RelPath::Parse((layer ? "layers/" + std::string(kOldTreePrefix) : "tmp/" + std::string(kGonePrefix)) + id_ +
                       "." + std::to_string(aside_.size()));
    root_.Rename(path, to);
    aside_.push_back(to);
  }

  const Dir& root_;
  const CollectOptions& options_;
  const std::string& id_;
  const std::set<Digest> needed_;  // by anyone
  const std::set<Digest> in_use_;  // by leases and pods
  const std::string boot_;
  CollectResult result_;
  std::vector<RelPath> aside_;
};

}  // namespace

CollectResult LocalStore::Collect(const CollectOptions& options) {
  RequireWritable();
  if (!options.dry_run)
    SyncLayers();
  const LeaseFile own(root_);
  Expander expander(*this);
  const auto needs = [&](const LiveLeases& live, std::set<Digest>& in_use) {
    expander.SetReferred(ReferredIn(*root_));
    for (const Digest& digest : PodDigests(*root_)) expander.Expand(digest, false, in_use);
    for (const Digest& digest : live.digests) expander.Expand(digest, false, in_use);
    std::set<Digest> needed = in_use;
    const IndexDocument index = ReadIndex();
    for (const IndexEntry& entry : index.entries()) {
      expander.Expand(entry.descriptor.digest, true, needed);
      if (const std::optional<Digest> through = IndexOf(entry.descriptor))
        expander.Expand(*through, false, needed);
    }
    return needed;
  };
  std::set<Digest> in_use;
  needs(ReadLeases(*root_), in_use);
  std::optional<FileLock> lock(std::in_place, *root_, kCollectLock, LockMode::kExclusive);
  std::optional<FileLock> index_lock(std::in_place, *root_, kIndexLock, LockMode::kExclusive);
  in_use.clear();
  const LiveLeases live = ReadLeases(*root_);
  std::set<Digest> needed = needs(live, in_use);
  Collection collection(*root_, options, own.id(), std::move(needed), in_use, boot_);
  collection.Decide(live);
  index_lock.reset();
  lock.reset();
  return collection.Delete();
}

std::vector<std::string> LocalStore::Leftovers() const {
  std::vector<std::string> out;
  if (!TryOpenDir(*root_, "tmp"))
    return out;
  for (const Leftover& leftover : FindLeftovers(*root_, ReadLeases(*root_))) out.push_back(leftover.path.str());
  return out;
}

}  // namespace gantry::image
