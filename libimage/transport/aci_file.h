// App Container Image files (appc spec 0.8.11, aci.md): a tar of `manifest` and of everything below `rootfs/`.
//
// Reading is strict about that layout: nothing else at the top, the manifest first or last, no path twice, no name that
// leads out. An ACI is never unpacked nor copied to be read: it is inflated anew for each pass over it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/flatten.h"
#include "libimage/model/aci_manifest.h"

namespace gantry::image {

// Writes the uncompressed tar of one ACI: the manifest first or last, and `rootfs` entries as they come. The same
// entries make the same bytes.
class AciWriter : public EntrySink {
 public:
  // `into` is borrowed. The entry of the manifest will have mode 0644, owner 0:0 and `mtime`.
  AciWriter(Sink& into, Time mtime) : archive_(into), mtime_(mtime) {}

  // Once, before all entries or after them.
  void AddManifest(std::string_view manifest);
  void Add(const Entry& entry) override;
  void Write(std::span<const std::byte> bytes) override { archive_.Write(bytes); }
  void WriteZeros(uint64_t count) override { archive_.WriteZeros(count); }

  // The end of the archive; does not finish `into`.
  void Finish() { archive_.Finish(); }

 private:
  ArchiveWriter archive_;
  Time mtime_;
  Entry named_;
};

// The pathWhitelist of one manifest: what may be in the tree that its image and its dependencies amount to.
class PathWhitelist {
 public:
  explicit PathWhitelist(const std::vector<std::string>& paths);

  // `path` is relative, the root's empty. A directory is allowed when something below it is.
  bool Allows(std::string_view path, bool is_directory) const;

 private:
  std::vector<std::string> paths_;  // sorted, relative
};

using PathWhitelists = std::vector<std::shared_ptr<const PathWhitelist>>;

// The file of an ACI as it lies there, compressed as it may be: what its signature is over.
struct AciBytes {
  std::shared_ptr<const UniqueFd> fd;
  uint64_t size = 0;
  Hasher hashed;  // what was read to check it, not finished
};

// When an ACI's image ID is found: with all else, or by a pass of its own once somebody asks.
enum class ImageId { kAtOnce, kWhenAsked };

// One ACI: plain, or compressed by gzip, bzip2, xz or zstd.
class AciFile {
 public:
  // A tar stream from its begin, any number of times.
  using OpenTar = std::function<std::unique_ptr<Source>()>;

  // Reads all of the file once and checks its layout. kCorrupt for what is no ACI, with the entry and the reason;
  // kUnsupported for names that an OCI layer has no place for (".wh.*"). A pipe is kept in a file without a name. What
  // is read of the file later ends with kCorrupt unless all its bytes are those that were checked.
  static std::shared_ptr<const AciFile> Open(const std::string& path, ImageId id = ImageId::kAtOnce);
  // `first` is what is read to check it, where that is not what `open` gives.
  AciFile(OpenTar open, std::string name, ImageId id = ImageId::kAtOnce, std::unique_ptr<Source> first = nullptr);

  // Its manifest if it is the first entry, as far as can be told without reading more; else nullopt.
  static std::optional<AciManifest> Peek(const std::string& path);

  const std::string& name() const { return name_; }  // as it was opened
  const AciManifest& manifest() const { return manifest_; }
  const Digest& image_id() const;  // SHA-512 of the uncompressed tar; not for several threads at once
  uint64_t tar_bytes() const { return tar_bytes_; }
  uint64_t file_bytes() const { return bytes_ ? bytes_->size : 0; }  // 0 for a pipe
  const std::optional<AciBytes>& bytes() const { return bytes_; }    // nullopt for a pipe

  // The tar of a layer with what is below rootfs: the same entries in the same order, written as archive.h writes. What
  // one of the whitelists does not allow is left out; of a file with several names the first that is allowed has the
  // content. The source may outlive this.
  std::unique_ptr<Source> OpenLayer(const PathWhitelists& only = {}) const;

  // Of that tar without whitelists.
  const Digest& layer_digest() const { return *layer_digest_; }
  uint64_t layer_bytes() const { return layer_bytes_; }

 private:
  void Scan(std::unique_ptr<Source> from, ImageId when);

  OpenTar open_;
  std::string name_;
  AciManifest manifest_;
  mutable std::optional<Digest> image_id_;  // nullopt until it is asked for
  std::optional<Digest> layer_digest_;
  std::optional<AciBytes> bytes_;
  uint64_t tar_bytes_ = 0, layer_bytes_ = 0;
  std::map<std::string, std::vector<std::string>> links_;  // of a file, the hard links to it in their order
};

}  // namespace gantry::image
