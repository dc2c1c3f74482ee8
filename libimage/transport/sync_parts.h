// What the jobs of a sync share, and how one of them copies blobs and manifests. Private to the sync's half with the
// network (sync_network.cc).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "libimage/transport/attach.h"
#include "libimage/transport/fetch_tree.h"
#include "libimage/transport/http_clients.h"
#include "libimage/transport/pusher.h"
#include "libimage/transport/registry_upload.h"
#include "libimage/transport/syncer.h"

namespace gantry::image {

// The documents of one image.
class MemoryKeeper : public DocumentKeeper {
 public:
  void Expect(const Digest&) override {}
  bool Has(const Digest& digest) const override { return documents_.contains(digest); }
  std::string Read(const Digest& digest, size_t) const override { return documents_.at(digest); }
  void Keep(const Digest& digest, const std::string& bytes) override { documents_.emplace(digest, bytes); }
  const std::map<Digest, std::string>& documents() const { return documents_; }

 private:
  std::map<Digest, std::string> documents_;
};

// What all jobs know: who may ask what, and which blobs are at the destination already. Thread-safe.
class SyncShared {
 public:
  explicit SyncShared(const SyncPlan& plan);

  const SyncPlan& plan() const { return plan_; }

  // The connections to where images come from, and to where they go.
  HttpClients::Taken ClientFrom(const FetchSource& source);
  HttpClients::Taken ClientInto();
  HttpClients::Taken ClientAside(const HttpOptions& options);  // for signatures

  // A client for `name`, with the tokens that others had for its repository.
  std::unique_ptr<RegistryClient> Open(HttpClient& http, const DockerReference& name,
                                       const std::optional<Credentials>& credentials, std::string_view actions);
  const std::optional<Credentials>& CredentialsOf(size_t origin, size_t source) const {
    return credentials_[origin][source];
  }
  const std::optional<Credentials>& to_credentials() const { return to_credentials_; }

  // One job at a time sends a blob: who waited finds it there, and registries do not bear well the same one twice at
  // once.
  void BeginBlob(const Digest& blob);
  void EndBlob(const Digest& blob);

  // Whether `to` is a tag in a repository of the destination that had none when this began: nobody has to ask what is
  // there already. Learned from the first tag that is absent. Never so without a tag: no list has what is there by its
  // digest alone.
  bool IsNew(const DockerReference& to) const;
  void LearnWhetherNew(const DockerReference& to, RegistryClient& registry);

  // How many uploads may have a whole chunk in memory.
  std::counting_semaphore<kMaxUploads>& large_uploads() { return large_uploads_; }

  // A repository of the destination that has the blob; empty when none is known.
  std::string RepositoryWith(const Digest& blob) const;
  bool IsThere(const std::string& path, const Digest& blob) const;
  void SetThere(const std::string& path, const Digest& blob);

 private:
  HttpClients::Taken Take(const std::string& whose, const HttpOptions& options);

  const SyncPlan& plan_;
  std::vector<std::vector<std::optional<Credentials>>> credentials_;
  std::optional<Credentials> to_credentials_;
  std::counting_semaphore<kMaxUploads> large_uploads_{kMaxUploads};
  mutable std::mutex mutex_;
  std::condition_variable blob_ended_;
  std::set<Digest> blobs_on_their_way_;
  // One host may be trusted without certificates for some of its repositories, and for those alone (registries.conf).
  std::map<std::tuple<std::string, bool, bool>, std::unique_ptr<HttpClients>> http_;
  std::map<std::string, std::unique_ptr<RegistryClient>> registries_;
  std::map<std::string, bool> new_;  // of those that were asked about
  std::map<Digest, std::string> there_;
  std::set<std::pair<std::string, Digest>> all_there_;
};

// The copying of one image's parts into one repository.
class PartsCopy {
 public:
  PartsCopy(SyncShared& shared, const FetchSource& source, const RegistryClient& from, const DockerReference& to,
            RegistryClient& into)
      : shared_(shared), source_(source), from_(from), to_(to), into_(into), attaching_(into) {}

  // Those that the destination lacks; `keeper` may have some.
  void CopyBlobs(const std::vector<Descriptor>& blobs, const MemoryKeeper& keeper);
  void Put(const Descriptor& manifest, const std::string& bytes, const std::string& under);
  void Settle() { attaching_.Settle(); }

  // That were sent.
  uint64_t blobs() const { return blobs_; }
  uint64_t bytes() const { return bytes_; }

 private:
  void CopyBlob(const Descriptor& blob, const MemoryKeeper& keeper, HttpClient& from_http, HttpClient& into_http);
  std::string PlaceToMountFrom(const Digest& blob) const;
  bool Mount(BlobUpload& upload, RegistryClient& into, const Digest& blob, const std::string& path);
  void Send(const Descriptor& blob, const MemoryKeeper& keeper, HttpClient& from_http, BlobUpload& upload,
            const std::string& what);

  SyncShared& shared_;
  const FetchSource& source_;
  const RegistryClient& from_;
  const DockerReference& to_;
  RegistryClient& into_;
  Attaching attaching_;
  std::atomic<uint64_t> blobs_ = 0;
  std::atomic<uint64_t> bytes_ = 0;
};

}  // namespace gantry::image
