#include "libimage/transport/sync_parts.h"

#include <algorithm>
#include <functional>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/workers.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr size_t kBlobsAtOnce = 3;  // of one image
// An image that is smaller gains nothing by more threads.
constexpr uint64_t kWorthThreads = 4 * 1024 * 1024;
constexpr uint64_t kLargeBlob = 1024 * 1024;

// Runs at the end of a scope.
class Deferred {
 public:
  explicit Deferred(std::function<void()> work) : work_(std::move(work)) {}
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred() { work_(); }

 private:
  std::function<void()> work_;
};

}  // namespace

SyncShared::SyncShared(const SyncPlan& plan) : plan_(plan) {
  for (const SyncOrigin& origin : plan.origins) {
    auto& of_origin = credentials_.emplace_back();
    for (const FetchSource& source : origin.sources) {
      const bool own = origin.credentials && source.name.host == origin.name.host;
      of_origin.push_back(own ? origin.credentials : FindCredentials(source.name));
    }
  }
  to_credentials_ = FindCredentials(plan.destination);
}

HttpClients::Taken SyncShared::ClientFrom(const FetchSource& source) {
  return Take("from " + source.name.host, source.http);
}

HttpClients::Taken SyncShared::ClientInto() { return Take("to", plan_.http); }

HttpClients::Taken SyncShared::ClientAside(const HttpOptions& options) { return Take("aside", options); }

HttpClients::Taken SyncShared::Take(const std::string& whose, const HttpOptions& options) {
  HttpClients* pool = nullptr;
  {
    const std::lock_guard lock(mutex_);
    auto& known = http_[{whose, options.verify_tls, options.allow_http}];
    if (!known)
      known = std::make_unique<HttpClients>(options);
    pool = known.get();
  }
  return pool->Take();
}

std::unique_ptr<RegistryClient> SyncShared::Open(HttpClient& http, const DockerReference& name,
                                                 const std::optional<Credentials>& credentials,
                                                 std::string_view actions) {
  const std::lock_guard lock(mutex_);
  auto& known = registries_[name.Repository() + " " + std::string(actions)];
  if (!known)
    known = std::make_unique<RegistryClient>(http, name, credentials, actions);
  return std::make_unique<RegistryClient>(http, *known);
}

void SyncShared::BeginBlob(const Digest& blob) {
  std::unique_lock lock(mutex_);
  blob_ended_.wait(lock, [&] { return !blobs_on_their_way_.contains(blob); });
  blobs_on_their_way_.insert(blob);
}

void SyncShared::EndBlob(const Digest& blob) {
  const std::lock_guard lock(mutex_);
  blobs_on_their_way_.erase(blob);
  blob_ended_.notify_all();
}

bool SyncShared::IsNew(const DockerReference& to) const {
  if (to.tag.empty())
    return false;
  const std::lock_guard lock(mutex_);
  const auto found = new_.find(to.path);
  return found != new_.end() && found->second;
}

void SyncShared::LearnWhetherNew(const DockerReference& to, RegistryClient& registry) {
  if (to.tag.empty())
    return;
  {
    const std::lock_guard lock(mutex_);
    if (!new_.emplace(to.path, false).second)
      return;
  }
  const bool is_new = !registry.MayHaveTags();
  const std::lock_guard lock(mutex_);
  new_[to.path] = is_new;
}

std::string SyncShared::RepositoryWith(const Digest& blob) const {
  const std::lock_guard lock(mutex_);
  const auto found = there_.find(blob);
  return found == there_.end() ? std::string() : found->second;
}

bool SyncShared::IsThere(const std::string& path, const Digest& blob) const {
  const std::lock_guard lock(mutex_);
  return all_there_.contains({path, blob});
}

void SyncShared::SetThere(const std::string& path, const Digest& blob) {
  const std::lock_guard lock(mutex_);
  there_.emplace(blob, path);
  all_there_.emplace(path, blob);
}

void PartsCopy::CopyBlobs(const std::vector<Descriptor>& blobs, const MemoryKeeper& keeper) {
  std::vector<Descriptor> wanted;
  std::set<Digest> seen;
  uint64_t bytes = 0;
  for (const Descriptor& blob : blobs) {
    // Foreign layers stay where their manifest says that they are.
    if ((IsForeignLayer(blob.media_type) && !blob.urls.empty()) || !seen.insert(blob.digest).second)
      continue;
    wanted.push_back(blob);
    bytes += blob.size;
  }
  std::stable_sort(wanted.begin(), wanted.end(),
                   [](const Descriptor& a, const Descriptor& b) { return a.size > b.size; });
  if (bytes < kWorthThreads) {
    for (const Descriptor& blob : wanted) CopyBlob(blob, keeper, from_.http(), into_.http());
    return;
  }
  RunParallel(wanted.size(), kBlobsAtOnce, [&](size_t i) {
    const HttpClients::Taken from = shared_.ClientFrom(source_);
    const HttpClients::Taken into = shared_.ClientInto();
    CopyBlob(wanted[i], keeper, *from, *into);
  });
}

void PartsCopy::Put(const Descriptor& manifest, const std::string& bytes, const std::string& under) {
  attaching_.PutAndList(under.empty() ? manifest.digest.str() : under, bytes, manifest,
                        "manifest of " + Quoted(to_.ToString()));
}

void PartsCopy::CopyBlob(const Descriptor& blob, const MemoryKeeper& keeper, HttpClient& from_http,
                         HttpClient& into_http) {
  shared_.BeginBlob(blob.digest);
  const Deferred end([&] { shared_.EndBlob(blob.digest); });
  if (shared_.IsThere(to_.path, blob.digest))
    return;
  const std::string what = "blob " + blob.digest.hex().substr(0, 12) + " of " + Quoted(to_.ToString());
  RegistryClient into(into_http, into_);
  const std::string elsewhere = PlaceToMountFrom(blob.digest);
  // Who lacks the manifest lacks its configuration, too; and where the image comes from the same registry, a mount
  // finds out. What an interrupted sync has left where no tag is yet is worth a question if it is large.
  const bool likely = blob.size >= kLargeBlob || !shared_.IsNew(to_);
  const bool asked = likely && !keeper.Has(blob.digest) && (elsewhere.empty() || elsewhere != source_.name.path);
  BlobUpload upload(into, what, blob.digest.algorithm());
  if (!(asked && HasBlob(into, blob.digest, what)) && !Mount(upload, into, blob.digest, elsewhere))
    Send(blob, keeper, from_http, upload, what);
  shared_.SetThere(to_.path, blob.digest);
}

// In the registry that the image goes to; a repository that the image came from is sure to have the blob.
std::string PartsCopy::PlaceToMountFrom(const Digest& blob) const {
  if (source_.name.host == to_.host)
    return source_.name.path;
  return shared_.RepositoryWith(blob);
}

// A registry that will not hear of the other repository gets the bytes, in the session that the mount became if it did.
bool PartsCopy::Mount(BlobUpload& upload, RegistryClient& into, const Digest& blob, const std::string& path) {
  if (path.empty() || path == to_.path)
    return false;
  try {
    into.MayAlsoPull(path, true);
    return upload.Mount(blob, path);
  } catch (const Error&) {
    into.MayAlsoPull(path, false);
    return false;
  }
}

void PartsCopy::Send(const Descriptor& blob, const MemoryKeeper& keeper, HttpClient& from_http, BlobUpload& upload,
                     const std::string& what) {
  const bool large = blob.size >= kLargeBlob;
  if (large)
    shared_.large_uploads().acquire();
  const Deferred release([&] {
    if (large)
      shared_.large_uploads().release();
  });
  if (keeper.Has(blob.digest)) {
    upload.Write(AsBytes(keeper.documents().at(blob.digest)));
  } else {
    RegistryClient from(from_http, from_);
    from.ReadBlob(blob, what, [&](std::span<const std::byte> bytes) { upload.Write(bytes); });
  }
  upload.Finish(blob.digest, false);
  ++blobs_;
  bytes_ += blob.size;
}

}  // namespace gantry::image
