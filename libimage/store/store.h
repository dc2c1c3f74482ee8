// The local store: content-addressed, crash-safe, shared by processes, and a valid OCI image layout that other tools
// read in place (gantry-store(5)).
//
//   oci-layout, index.json, blobs/sha256/HEX   the layout; index.json names images (org.opencontainers.image.ref.name)
//   layers/ALGORITHM-HEX/                      rendered layers by diff ID, whole or absent
//   signatures/ALGORITHM-HEX/signature-N       evidence for the manifest of that digest, raw bytes, from 1 without gaps
//   pods/                                      the runner's
//   tmp/                                       files and trees that have no name yet, and leases
//
// Blobs appear by StagedFile: written, digest checked, fsynced, named. index.json is replaced the same way under a
// lock. A crash at any instant leaves the old state or the new one. Nothing gets a name without a VerifiedImage.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

constexpr size_t kMaxSignatureBytes = 4 * 1024 * 1024;
constexpr size_t kMaxSignatures = 128;  // of one manifest
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
  // Finish checks size and digest (kCorrupt), syncs, and gives the blob its name. An existing blob is kept.
};

// A rendered layer on its way in: a directory to fill, then Commit renames it into place (an existing one is kept).
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
  uint64_t blobs = 0, layers = 0, signatures = 0, leftovers = 0;  // removed (or would be)
  uint64_t bytes = 0;                                             // of blobs
};

// One finding of Check.
struct StoreProblem {
  std::string what;  // path in the store
  std::string why;
};

class Store : public Blobs {
 public:
  // Opens the store at `root` and creates what is missing of it. kUnsupported for a layout version that is not ours.
  static std::unique_ptr<Store> Open(const std::string& root);
  // Opens an existing store and never writes; nullptr when there is none at `root`.
  static std::unique_ptr<Store> OpenReadOnly(const std::string& root);

  virtual const Dir& dir() const = 0;

  // Blobs. Open (of Blobs) does not hash again: what has a name here was checked.
  virtual bool HasBlob(const Digest& digest) const = 0;
  virtual std::unique_ptr<IncomingBlob> AddBlob(const Digest& digest, uint64_t size) = 0;
  // A small blob whole; checked against digest and size once more, kCorrupt when it does not match.
  virtual std::string ReadBlob(const Digest& digest, size_t max_bytes) const = 0;

  // Names. Set needs all blobs of the image to be here (kNotFound otherwise).
  virtual void SetName(const std::string& name, const VerifiedImage& image) = 0;
  virtual bool RemoveName(const std::string& name) = 0;  // false when absent
  virtual std::vector<StoredName> List() const = 0;
  // By exact name, by the normalised form of a short docker name, by manifest digest or unique prefix of at least 12
  // hex digits; nullopt when there is none, kUsage when a prefix is ambiguous.
  virtual std::optional<StoredName> Resolve(const std::string& name) const = 0;
  // The image behind a name. Its bytes match its digests.
  virtual FetchedImage Load(const StoredName& name) const = 0;

  // Evidence. AddSignature keeps what is there and appends; the same bytes twice are one.
  virtual void AddSignature(const Digest& manifest, std::string_view bytes) = 0;
  virtual std::vector<std::string> Signatures(const Digest& manifest) const = 0;

  // Rendered layers. `variant` tells apart what must not be mixed: "" for root's, "u<id>" for a user namespace's.
  virtual std::optional<Dir> RenderedLayer(const Digest& diff_id, std::string_view variant) const = 0;
  virtual std::unique_ptr<IncomingLayer> AddLayer(const Digest& diff_id, std::string_view variant) = 0;

  virtual std::unique_ptr<Lease> NewLease() = 0;

  // Removes what no name, lease or pod needs, and leftovers of dead processes in tmp/.
  virtual CollectResult Collect(const CollectOptions& options) = 0;

  // Hashes every blob, reads every name and every manifest. An empty answer proves the store sound.
  virtual std::vector<StoreProblem> Check() const = 0;
};

// What an image needs: the digests of its manifest, configuration and layers.
std::set<Digest> BlobsOf(const Image& image);

}  // namespace gantry::image
