// The one Store there is: a directory on this machine. Private to store/.
//
// Split over files by what it does: local_store.cc (opening, blobs), partial_blob.cc, names.cc (index.json, evidence),
// accepted.cc, rendered_layers.cc, identities.cc, collect.cc, check.cc.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/store/index_document.h"
#include "libimage/store/leases.h"
#include "libimage/store/store.h"

namespace gantry::image {

// How StagedFile names files where there is no O_TMPFILE.
constexpr std::string_view kHiddenPrefix = ".gantry-";

// A tree in layers/ that is being filled or removed: prefix, ID of the lease of its owner, ".N".
constexpr std::string_view kNewTreePrefix = ".new-";
constexpr std::string_view kOldTreePrefix = ".old-";

// Who vouched for an image when it got its name.
constexpr std::string_view kVouchedByAnnotation = "gantry.vouched-by";

// The index that led to an image; written only when that blob is here, and believed only when the blob says so.
constexpr std::string_view kIndexAnnotation = "gantry.index";
std::optional<Digest> IndexOf(const Descriptor& descriptor);

// Whether the root of a store may hold a file of this name.
bool IsStoreFile(std::string_view name);

// The boot of this kernel, 32 hex digits; empty where it cannot be read.
std::string ReadBootId();

// "sha256-HEX", as directories are named; and back. nullopt for other spellings.
std::string FileNameOf(const Digest& digest);
std::optional<Digest> DigestOfFileName(std::string_view name);

RelPath PathOfBlob(const Digest& digest);
RelPath PathOfSignatures(const Digest& manifest);
RelPath PathOfIdentity(const Digest& manifest);
RelPath PathOfReferrers(const Digest& subject);

// The rootfs digest that a file of identities/ holds; nullopt for anything else, as another version would write.
std::optional<Digest> ParseKeptIdentity(std::string_view text);
constexpr size_t kMaxKeptIdentityBytes = 256;

// The name of a directory in layers/: "sha256-HEX", then ".VARIANT" unless it is empty, then "~BOOT" as long as its
// bytes may be in memory only: after another boot it is as good as absent.
struct LayerName {
  Digest diff_id;
  std::string variant;
  std::string boot;  // empty: on disk

  std::string ToString() const;
  static std::optional<LayerName> Parse(std::string_view name);
};

// Something in the store that belongs to a process that is no more.
struct Leftover {
  RelPath path;
  bool is_tree;
};
// `live` are the leases of now.
std::vector<Leftover> FindLeftovers(const Dir& root, const LiveLeases& live);

class LocalStore final : public Store {
 public:
  // `trusted` tells that nobody but us can have written: blobs are not hashed again.
  LocalStore(Dir root, bool writable, bool trusted, WriteBack::Pace pace = WriteBack::Pace::kSteady);

  const Dir& dir() const override { return *root_; }
  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;

  bool HasBlob(const Digest& digest) const override;
  std::unique_ptr<IncomingBlob> AddBlob(const Digest& digest, uint64_t size) override;
  std::unique_ptr<IncomingBlob> ResumeBlob(const Digest& digest, uint64_t size) override;
  std::optional<UniqueFd> OpenAsFarAsHere(const Digest& digest) const override;
  std::unique_ptr<NewBlob> MakeBlob(std::string_view what) override;
  std::string ReadBlob(const Digest& digest, size_t max_bytes) const override;

  void SetName(const std::string& name, const VerifiedImage& image) override;
  void SetName(const std::string& name, const VerifiedArtifact& artifact) override;
  bool RemoveName(const std::string& name) override;
  std::vector<StoredName> List() const override;
  std::optional<StoredName> Resolve(const std::string& name) const override;
  Fetched LoadAny(const StoredName& name) const override;

  void AddSignature(const Digest& manifest, std::string_view bytes) override;
  std::vector<std::string> Signatures(const Digest& manifest) const override;
  void SetReferrers(const Digest& subject, const std::vector<Descriptor>& referrers) override;
  std::vector<Descriptor> Referrers(const Digest& subject) const override;

  std::optional<int64_t> NewestAccepted(const std::string& reference) const override;
  void NoteAccepted(const Accepted& accepted) override;

  std::optional<Digest> RootfsOf(const Digest& manifest) const override;
  void KeepRootfs(const Digest& manifest, const Digest& rootfs) const override;

  std::optional<Dir> RenderedLayer(const Digest& diff_id, std::string_view variant) const override;
  std::unique_ptr<IncomingLayer> AddLayer(const Digest& diff_id, std::string_view variant) override;
  size_t SyncLayers() override;

  std::unique_ptr<Lease> NewLease() override;
  CollectResult Collect(const CollectOptions& options) override;
  std::vector<StoreProblem> Check() const override;
  std::vector<std::string> Leftovers() const override;

 private:
  // The lease that covers what this process adds until the Store is closed.
  std::shared_ptr<LeaseFile> Session();
  void RequireWritable() const;
  // What renderers that were killed left of layers, as by ^C while layers came: who renders next takes it away.
  void RemoveDeadTrees() const;
  void SetName(const std::string& name, Descriptor descriptor, const std::set<Digest>& blobs,
               const std::string& vouched_by, const std::optional<Digest>& index) const;
  IndexDocument ReadIndex() const;
  void WriteIndex(const IndexDocument& index) const;
  std::optional<Digest> ProvenIndex(const Descriptor& manifest) const;

  std::shared_ptr<const Dir> root_;
  bool writable_;
  bool trusted_;
  WriteBack::Pace pace_;
  std::string boot_;
  std::mutex mutex_;
  std::shared_ptr<LeaseFile> session_;
  std::once_flag swept_;
};

}  // namespace gantry::image
