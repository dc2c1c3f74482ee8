// The proof that a LocalStore is sound.
//
// Blobs are hashed and identities found without a lock, since that takes long; what vanishes meanwhile was collected.
// Names are compared with blobs under gc.lock, when nothing can vanish.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <mutex>

#include "libimage/base/error.h"
#include "libimage/base/workers.h"
#include "libimage/layer/rootfs_digest.h"
#include "libimage/store/local_store.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxListings = 4;  // of trees at once, each of which holds all its paths

class Findings {
 public:
  // Thread-safe.
  void Add(const std::string& what, std::string why) {
    const std::lock_guard guard(mutex_);
    // File names may hold anything; what is reported is printable.
    const std::string safe = Quoted(what);
    problems_.push_back({safe.substr(1, safe.size() - 2), std::move(why)});
  }

  std::vector<StoreProblem> Take() {
    std::sort(problems_.begin(), problems_.end(), [](const StoreProblem& a, const StoreProblem& b) {
      return std::tie(a.what, a.why) < std::tie(b.what, b.why);
    });
    return std::move(problems_);
  }

 private:
  std::mutex mutex_;
  std::vector<StoreProblem> problems_;
};

std::vector<std::string> ListBeneath(const Dir& root, const std::string& path) {
  const std::optional<UniqueFd> fd = root.TryOpenBeneath(RelPath::Parse(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  return fd ? root.OpenDir(RelPath::Parse(path)).List() : std::vector<std::string>();
}

struct ListedBlob {
  Digest digest;
  uint64_t size;
};

void ListBlobs(const Dir& root, Findings& findings, std::vector<ListedBlob>& into) {
  for (const std::string& algorithm : ListBeneath(root, "blobs")) {
    const std::string directory = "blobs/" + algorithm;
    if (algorithm != "sha256" && algorithm != "sha512") {
      findings.Add(directory, "does not belong here");
      continue;
    }
    for (const std::string& name : ListBeneath(root, directory)) {
      if (name.starts_with(kHiddenPrefix))
        continue;
      const std::string path = directory + "/" + name;
      const std::optional<Digest> digest = Digest::TryParse(algorithm + ":" + name);
      const std::optional<struct stat> status = root.Stat(RelPath::Parse(path));
      if (!digest || (status && !S_ISREG(status->st_mode))) {
        findings.Add(path, "is no blob");
      } else if (status) {
        into.push_back({*digest, static_cast<uint64_t>(status->st_size)});
      }
    }
  }
}

void HashBlob(const Dir& root, const Digest& digest, Findings& findings) {
  const RelPath path = PathOfBlob(digest);
  try {
    std::optional<UniqueFd> fd = root.TryOpenBeneath(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    if (!fd)
      return;
    const auto source = FdSource(std::move(*fd), Quoted(path.str()));
    Hasher hasher(digest.algorithm());
    for (Block block = source->Next(); !block.empty(); block = source->Next()) hasher.Update(block.bytes());
    if (const Digest found = hasher.Finish(); found != digest)
      findings.Add(path.str(), "has the digest " + found.str());
  } catch (const Error& error) {
    findings.Add(path.str(), error.message());
  }
}

// One entry of index.json, and of the indexes it leads to.
class EntryCheck {
 public:
  EntryCheck(const LocalStore& store, const Dir& root, Findings& findings, std::string what)
      : store_(store), root_(root), findings_(findings), what_(std::move(what)) {}

  void CheckManifest(const Descriptor& descriptor, bool may_be_absent, size_t depth = 0) {
    if (!Present(descriptor, may_be_absent))
      return;
    try {
      std::string bytes = store_.ReadBlob(descriptor.digest, kMaxManifestBytes);
      const ManifestOrIndex document = ParseManifest(bytes, descriptor.media_type);
      if (const auto* index = std::get_if<Index>(&document)) {
        if (depth == kMaxIndexDepth)
          findings_.Add(what_, "indexes are nested too deeply");
        // An index may hold what is not here: platforms that nobody wanted.
        for (const Descriptor& child : index->manifests) {
          if (depth < kMaxIndexDepth)
            CheckManifest(child, true, depth + 1);
        }
        return;
      }
      const auto& manifest = std::get<Manifest>(document);
      bool whole = true;
      for (const Descriptor& blob : manifest.Blobs()) whole = Present(blob, false) && whole;
      if (whole && !manifest.IsArtifact())
        Image::FromBytes(std::move(bytes), descriptor.media_type,
                         store_.ReadBlob(manifest.config.digest, kMaxConfigBytes));
    } catch (const Error& error) {
      findings_.Add(what_, error.message());
    }
  }

 private:
  bool Present(const Descriptor& blob, bool may_be_absent) {
    const std::optional<struct stat> status = root_.Stat(PathOfBlob(blob.digest));
    if (!status) {
      if (!may_be_absent)
        findings_.Add(what_, "blob " + blob.digest.str() + " is missing");
      return false;
    }
    if (static_cast<uint64_t>(status->st_size) != blob.size) {
      findings_.Add(what_, "blob " + blob.digest.str() + " has " + std::to_string(status->st_size) +
                               " bytes instead of " + std::to_string(blob.size));
      return false;
    }
    return true;
  }

  const LocalStore& store_;
  const Dir& root_;
  Findings& findings_;
  std::string what_;
};

void CheckLayers(const Dir& root, Findings& findings) {
  for (const std::string& name : ListBeneath(root, "layers")) {
    if (name.starts_with(kNewTreePrefix) || name.starts_with(kOldTreePrefix))
      continue;
    const std::string path = "layers/" + name;
    const std::optional<struct stat> status = root.Stat(RelPath::Parse(path));
    if (status && (!LayerName::Parse(name) || !S_ISDIR(status->st_mode)))
      findings.Add(path, "is no rendered layer");
  }
}

void CheckSignatures(const Dir& root, Findings& findings) {
  for (const std::string& name : ListBeneath(root, "signatures")) {
    const std::string directory = "signatures/" + name;
    if (!DigestOfFileName(name)) {
      findings.Add(directory, "is not named by a digest");
      continue;
    }
    std::vector<std::string> files = ListBeneath(root, directory);
    std::erase_if(files, [](const std::string& file) { return file.starts_with(kHiddenPrefix); });
    for (const std::string& file : files) {
      const std::string number = file.substr(std::min(file.size(), std::string_view("signature-").size()));
      const bool good = file.starts_with("signature-") && !number.empty() && number.size() <= 3 && number[0] != '0' &&
                        number.find_first_not_of("0123456789") == std::string::npos &&
                        std::stoul(number) <= std::min(files.size(), kMaxSignatures);
      const std::optional<struct stat> status = root.Stat(RelPath::Parse(directory + "/" + file));
      if (!good)
        findings.Add(directory + "/" + file, "is not one of a row of signatures from 1");
      else if (status && (!S_ISREG(status->st_mode) || static_cast<uint64_t>(status->st_size) > kMaxSignatureBytes))
        findings.Add(directory + "/" + file, "is no signature");
    }
  }
}

// Of a manifest that is not here any more nothing can be found out, and nobody asks.
void CheckIdentity(const LocalStore& store, const Dir& root, const std::string& name, Findings& findings) {
  const std::string path = "identities/" + name;
  const std::optional<Digest> manifest = DigestOfFileName(name);
  if (!manifest)
    return findings.Add(path, "is not named by a digest");
  try {
    const std::optional<UniqueFd> fd = root.TryOpenBeneath(RelPath::Parse(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!fd || !store.HasBlob(*manifest))
      return;
    const std::optional<Digest> kept = ParseKeptIdentity(ReadAll(fd->get(), kMaxKeptIdentityBytes, Quoted(path)));
    if (!kept)
      return findings.Add(path, "is no identity");
    std::string bytes = store.ReadBlob(*manifest, kMaxManifestBytes);
    const ManifestOrIndex document = ParseManifest(bytes);
    const auto* parsed = std::get_if<Manifest>(&document);
    if (parsed == nullptr)
      return findings.Add(path, "is about an index, which has no identity");
    const Image image =
        Image::FromBytes(std::move(bytes), parsed->media_type, store.ReadBlob(parsed->config.digest, kMaxConfigBytes));
    if (const Digest found = RootfsDigest(ListTree(image, store)); found != *kept)
      findings.Add(path, "says " + kept->str() + ", and the layers amount to " + found.str());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      findings.Add(path, error.message());
  }
}

void CheckIdentities(const LocalStore& store, const Dir& root, Findings& findings) {
  std::vector<std::string> names = ListBeneath(root, "identities");
  std::erase_if(names, [](const std::string& name) { return name.starts_with(kHiddenPrefix); });
  RunParallel(names.size(), std::min(ProcessorCount(), kMaxListings),
              [&](size_t i) { CheckIdentity(store, root, names[i], findings); });
}

// Lists are only here with all that they name.
void CheckReferrers(const LocalStore& store, const Dir& root, Findings& findings) {
  for (const std::string& name : ListBeneath(root, "referrers")) {
    if (name.starts_with(kHiddenPrefix))
      continue;
    const std::string path = "referrers/" + name;
    const std::optional<Digest> subject = DigestOfFileName(name);
    if (!subject) {
      findings.Add(path, "is not named by a digest");
      continue;
    }
    try {
      for (const Descriptor& referrer : store.Referrers(*subject))
        EntryCheck(store, root, findings, path).CheckManifest(referrer, false);
    } catch (const Error& error) {
      findings.Add(path, error.message());
    }
  }
}

}  // namespace

std::vector<StoreProblem> LocalStore::Check() const {
  Findings findings;
  for (const std::string& name : root_->List()) {
    if (!IsStoreFile(name))
      findings.Add(name, "does not belong here");
  }
  std::vector<ListedBlob> blobs;
  ListBlobs(*root_, findings, blobs);
  // The largest first, so that none is left alone at the end.
  std::sort(blobs.begin(), blobs.end(), [](const ListedBlob& a, const ListedBlob& b) { return a.size > b.size; });
  RunParallel(blobs.size(), ProcessorCount(), [&](size_t i) { HashBlob(*root_, blobs[i].digest, findings); });
  CheckIdentities(*this, *root_, findings);
  std::optional<FileLock> lock;
  if (writable_)
    lock.emplace(*root_, kCollectLock, LockMode::kShared);
  try {
    const IndexDocument index = ReadIndex();
    for (const IndexEntry& entry : index.entries()) {
      const std::string what = entry.name.empty() ? entry.descriptor.digest.str() : entry.name;
      EntryCheck(*this, *root_, findings, what).CheckManifest(entry.descriptor, false);
    }
  } catch (const Error& error) {
    findings.Add("index.json", error.message());
  }
  CheckLayers(*root_, findings);
  CheckSignatures(*root_, findings);
  CheckReferrers(*this, *root_, findings);
  return findings.Take();
}

}  // namespace gantry::image
