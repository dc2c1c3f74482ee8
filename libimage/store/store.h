// The local store: content-addressed, crash-safe, shared by processes, and a valid OCI image layout that other tools
// read in place (gantry-store(5)).
//
//   oci-layout, index.json, blobs/sha256/HEX  the layout; names are org.opencontainers.image.ref.name in index.json
//   layers/ALGORITHM-HEX[.VARIANT][~BOOT]/    rendered layers by diff ID, whole or absent; 0700 (CVE-2021-41103 asks)
//   signatures/ALGORITHM-HEX/signature-N      evidence for the manifest of that digest, raw bytes, from 1 without gaps
//   accepted/HEX                              what was accepted under a reference, by its SHA-256; only grows newer
//   identities/ALGORITHM-HEX                  what a pass over the layers of that manifest found; can be found again
//   referrers/ALGORITHM-HEX                   what refers to the manifest of that digest, an OCI index
//   pods/UUID/                                the runner's; file `image` lists digests that the pod needs, one a line
//   vm/                                       the runner's; what virtual machines share
//   tmp/                                      leases, large blobs on their way in, and what is on its way out
//   gc.lock, index.lock                       flock(2)ed for moments (leases.h)
//
// Blobs appear by StagedFile: written, digest checked, fsynced, named. index.json is replaced the same way under a
// lock. A crash at any instant leaves the old state or the new one. Nothing gets a name without a VerifiedImage.
//
// Rendered layers can always be made again, so they are not synced when they appear: until SyncLayers their names
// carry the boot in which they were made, and another boot does not see them.
//
// A store belongs to one user. One that others own or can write is kFailed to Open; it can be read, and then every
// blob is hashed again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/write_back.h"
#include "libimage/layer/identity.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/image_sink.h"

namespace gantry::image {

constexpr size_t kMaxSignatureBytes = 4 * 1024 * 1024;
constexpr size_t kMaxSignatures = 128;  // of one manifest
constexpr size_t kMaxSignatureBytesInAll = 16 * 1024 * 1024;
constexpr size_t kMaxStoredReferrers = 1000;  // of one manifest
constexpr size_t kMaxStoreIndexBytes = 256 * 1024 * 1024;

// One line of `gantry store list`.
struct StoredName {
  std::string name;       // "docker.io/library/alpine:3"
  Descriptor descriptor;  // of the manifest, with its platform
};

// A promise that collection leaves alone what is listed in it, until it is destroyed or its process is gone.
class Lease {
 public:
  virtual ~Lease() = default;
  // Adds digests of blobs, manifests (with all they name, as far as present) or diff IDs. Only what is added before it
  // is looked up is safe.
  virtual void Add(const std::vector<Digest>& digests) = 0;
};

// A blob on its way in. Destroyed without Commit, it leaves nothing.
class IncomingBlob : public Sink {
 public:
  // Write hashes, so that callers need not. Finish does what Check does, unless that was done, syncs, and gives the
  // blob its name. An existing blob is kept.

  // After the last Write: checks size and digest (kCorrupt). From then on OpenAsFarAsHere has all of it, and whoever
  // has opened it keeps it, whatever becomes of its name.
  virtual void Check() = 0;

  // How many bytes were there before the first Write, which go without saying; 0 but for ResumeBlob.
  virtual uint64_t received() const { return 0; }
};

// A rendered layer on its way in: a directory of mode 0755 to fill, then Commit renames it into place (an existing one
// is kept). dir() stays the directory that was filled; use RenderedLayer for the one that is in place.
// Destroyed without, it is removed.
class IncomingLayer {
 public:
  virtual ~IncomingLayer() = default;
  virtual const Dir& dir() const = 0;
  virtual void Commit() = 0;
};

struct CollectOptions {
  bool dry_run = false;
  uint64_t keep_seconds = 0;  // leave alone what is younger
};

struct CollectResult {
  uint64_t blobs = 0, layers = 0, signatures = 0, identities = 0, leftovers = 0;  // removed (or would be); lists of
                                                                                  // referrers count as signatures
  uint64_t bytes = 0;                                                             // of blobs
};

// One finding of Check.
struct StoreProblem {
  std::string what;  // path in the store
  std::string why;
};

class Store : public Blobs {
 public:
  using Blobs::Open;
  // Opens the store at `root` and creates what is missing of it. kUnsupported for a layout version that is not ours;
  // kFailed for a directory that is neither empty nor a store. What is added through one Store is leased until it is
  // closed. `pace` is that of large blobs on their way to the disk.
  static std::unique_ptr<Store> Open(const std::string& root, WriteBack::Pace pace = WriteBack::Pace::kSteady);
  // Opens an existing store and never writes; nullptr when there is none at `root`.
  static std::unique_ptr<Store> OpenReadOnly(const std::string& root);

  virtual const Dir& dir() const = 0;

  // Blobs. Open (of Blobs) does not hash again: what has a name here was checked.
  virtual bool HasBlob(const Digest& digest) const = 0;
  virtual std::unique_ptr<IncomingBlob> AddBlob(const Digest& digest, uint64_t size) = 0;
  // The same for a large blob. What comes of it stays when it is destroyed without Finish, and is there the next time;
  // a collection removes it after a day. Bytes that turn out wrong do not stay. One that another process is at begins
  // anew.
  virtual std::unique_ptr<IncomingBlob> ResumeBlob(const Digest& digest, uint64_t size) = 0;
  // What is here of a blob: all of it, else what has come of a large one, which need not be checked yet; more may
  // follow in the same file. nullopt when there is nothing.
  virtual std::optional<UniqueFd> OpenAsFarAsHere(const Digest& digest) const = 0;
  // One whose digest comes out at its end. `what` names it in errors.
  virtual std::unique_ptr<NewBlob> MakeBlob(std::string_view what) = 0;
  // A small blob whole; checked against digest and size once more, kCorrupt when it does not match.
  virtual std::string ReadBlob(const Digest& digest, size_t max_bytes) const = 0;

  // Names. Set needs all blobs of the image to be here (kNotFound otherwise).
  virtual void SetName(const std::string& name, const VerifiedImage& image) = 0;
  virtual void SetName(const std::string& name, const VerifiedArtifact& artifact) = 0;
  // A name is 1 to 1024 printable ASCII characters without spaces (kUsage). All else in index.json stays as it is.
  virtual bool RemoveName(const std::string& name) = 0;  // by exact name; false when absent
  virtual std::vector<StoredName> List() const = 0;      // by name; kCorrupt when index.json is not sound
  // By exact name, by the normalised form of a short docker name, by NAME@DIGEST where the manifest has that digest, by
  // manifest digest or unique prefix of at least 12 hex digits; nullopt when there is none, kUsage when a prefix is
  // ambiguous.
  virtual std::optional<StoredName> Resolve(const std::string& name) const = 0;
  // The image behind a name; of an index that another tool put here, the one for this machine. Its bytes match its
  // digests. The name is that of the store when it is a normalised docker reference. kUnsupported for an artifact.
  FetchedImage Load(const StoredName& name) const;
  // The same of either.
  virtual Fetched LoadAny(const StoredName& name) const = 0;

  // Evidence. AddSignature keeps what is there and appends; the same bytes twice are one.
  virtual void AddSignature(const Digest& manifest, std::string_view bytes) = 0;
  virtual std::vector<std::string> Signatures(const Digest& manifest) const = 0;

  // Freshness. When the signature was made with which something was last accepted as `reference`; nullopt when nothing
  // was. kCorrupt when it cannot be told.
  virtual std::optional<int64_t> NewestAccepted(const std::string& reference) const = 0;
  // Notes it, durably. kRefused, and nothing is noted, when something newer was accepted meanwhile.
  virtual void NoteAccepted(const Accepted& accepted) = 0;

  // Identities. The rootfs digest of the image with that manifest, as a pass over its layers found it that checked
  // them; nullopt where none did, and in a store that others can write.
  virtual std::optional<Digest> RootfsOf(const Digest& manifest) const = 0;
  // Keeps what such a pass found. It is a hint for later: what cannot be written, as in a store that is open for
  // reading only or out of reach of a confined process, is not kept.
  virtual void KeepRootfs(const Digest& manifest, const Digest& rootfs) const = 0;

  // Manifests that refer to another one, with all that they need, kept as long as that one is. Set replaces those that
  // there were; the blobs are here already, under a lease of the caller. An annotation (kRefNameAnnotation) is the tag
  // that one had, where it had one.
  virtual void SetReferrers(const Digest& subject, const std::vector<Descriptor>& referrers) = 0;
  virtual std::vector<Descriptor> Referrers(const Digest& subject) const = 0;

  // Rendered layers. `variant` tells apart what must not be mixed: "" for root's, "u<id>" for a user namespace's; at
  // most 32 lower-case letters and digits. SyncLayers may change the name of the Dir, unless a lease of yours lists the
  // diff ID; the descriptor stays good.
  virtual std::optional<Dir> RenderedLayer(const Digest& diff_id, std::string_view variant) const = 0;
  virtual std::unique_ptr<IncomingLayer> AddLayer(const Digest& diff_id, std::string_view variant) = 0;

  // Writes rendered layers out (syncfs), so that they outlive this boot; returns their count. Collect does this too.
  // For moments when nobody waits.
  virtual size_t SyncLayers() = 0;

  virtual std::unique_ptr<Lease> NewLease() = 0;

  // Removes what no name, lease or pod needs, and leftovers of dead processes. kCorrupt, and nothing is removed, when
  // it cannot be told what a name needs.
  virtual CollectResult Collect(const CollectOptions& options) = 0;

  // Hashes every blob, reads every name and every manifest, and finds every identity that is kept once more. An empty
  // answer proves the store sound.
  virtual std::vector<StoreProblem> Check() const = 0;
  // Paths of what dead processes left, which Collect would remove. They harm nothing and are no problem to Check.
  virtual std::vector<std::string> Leftovers() const = 0;
};

// The identity of an image with those blobs: from what `store` keeps, else by a pass over the layers, and then kept
// there. Without a store always by a pass.
Identity FindIdentity(const Image& image, const Blobs& blobs, const Store* store);

// What an image needs: the digests of its manifest, configuration and layers.
std::set<Digest> BlobsOf(const Image& image);
std::set<Digest> BlobsOf(const Artifact& artifact);

}  // namespace gantry::image
