// All layers of an image as one tree, in one pass over each layer, from the top one to the base.
//
// From above it is known, when an entry passes, whether it survives: nothing is unpacked, and no content is kept. The
// rules are those of OCI layer.md and of overlayfs: a whiteout hides lower layers only, an opaque one acts first
// wherever it stands, what is not a directory hides the whole subtree below it, a directory over a directory merges
// and has the upper one's attributes, and a directory that an upper layer only implies replaces whatever else a lower
// layer has there. Symbolic links among parents are followed inside the layer that has them and never across layers.
// Hard links are names of one inode, also where its first name is gone or lies in another layer.
//
// Order of what comes out: everything that is not a directory, from the top layer to the base; then all directories,
// each parent before its children, names sorted. So a reader that extracts in this order (tar, bsdtar, rkt) ends with
// the attributes and times of every directory right, and needs no write permission that the image does not give.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libimage/base/stream.h"
#include "libimage/layer/archive.h"

namespace gantry::image {

constexpr size_t kMaxSymlinkHops = 40;  // as Linux

// Takes a tree. Names and targets of hard links are relative paths without "." or ".."; the root's is empty. The
// target of a hard link was added before.
class EntrySink {
 public:
  virtual ~EntrySink() = default;

  virtual void Add(const Entry& entry) = 0;
  // The content of the file that was added last: exactly entry.size bytes in all.
  virtual void Write(std::span<const std::byte> bytes) = 0;
  virtual void WriteZeros(uint64_t count) = 0;
};

// What layers say about a tree that they are laid over and that is not read with them: for whoever writes one layer by
// itself. Told at any time during a run.
class LowerTree {
 public:
  virtual ~LowerTree() = default;

  // Nothing that it has at `path` and below stays; with `inside`, nothing below.
  virtual void Hide(const std::string& path, bool inside) = 0;
  // A directory that no entry describes: its own if it has one there, else one of 0755 0:0. Such are not added.
  virtual void Imply(const std::string& path) = 0;
  // Further names of what it must have at `target`, whatever hides that here; none when they are gone again.
  virtual void Link(const std::string& target, const std::vector<std::string>& names) = 0;
};

struct FlattenOptions {
  // Entries (not files with content) that are added where the image has nothing of that name. kUnsupported when a
  // parent of one is not a directory.
  std::vector<Entry> defaults;
  Time undated = {};               // mtime of directories without an entry
  std::string what = "the image";  // in errors
  size_t first = 0;                // the number of the base layer, in errors
  LowerTree* below = nullptr;      // borrowed; null: there is nothing
};

struct FlattenResult {
  uint64_t entries = 0;  // handed to the sink, directories too
  uint64_t bytes = 0;    // of file content
  uint64_t paths = 0;    // in the index: those of hidden entries and whiteouts too
  uint64_t index_bytes = 0;
  uint64_t layer_passes = 0;  // the number of layers, unless some had to be read again
};

class Flattener {
 public:
  // Opens the uncompressed tar of a layer, 0 the base; each layer may be opened up to three times.
  using OpenLayer = std::function<std::unique_ptr<Source>(size_t layer)>;

  Flattener(size_t layer_count, OpenLayer open, FlattenOptions options);
  Flattener(const Flattener&) = delete;
  Flattener& operator=(const Flattener&) = delete;
  ~Flattener();

  // Hands the whole tree to `sink` and returns true. Returns false when a layer turned out to hold a path twice
  // (forbidden, but the last one wins): what the sink got is worthless, and one more Run, with a new sink, will
  // succeed, for by then it is known which entries count. kCorrupt for a path through a file, a link to nothing or to
  // a directory (with options.below: to one of these layers), more than kMaxSymlinkHops, and all that ArchiveReader
  // refuses.
  bool Run(EntrySink& sink);

  const FlattenResult& result() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gantry::image
