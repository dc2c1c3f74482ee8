// Every path of an image, as a trie in flat memory: what flattening knows of a path while layers pass from the top one
// to the base.
//
// A path is a node: its parent, its name, and what layers said about it. Nodes live in chunks, names in an arena, and
// one open-addressing table finds a child by parent and name: about 70 bytes a path in all, linear in the paths.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

constexpr size_t kMaxPaths = 20'000'000;
constexpr size_t kMaxPathTextBytes = size_t{1} << 31;  // names and symbolic link targets together

// A vector that grows by chunks: no element ever moves, and growing never needs the memory twice.
template <typename T>
class Chunked {
 public:
  T& operator[](size_t i) { return chunks_[i / kChunk][i % kChunk]; }
  const T& operator[](size_t i) const { return chunks_[i / kChunk][i % kChunk]; }
  size_t size() const { return size_; }
  size_t bytes() const { return chunks_.size() * kChunk * sizeof(T); }

  void Append(const T& value) {
    if (size_ == chunks_.size() * kChunk)
      chunks_.push_back(std::make_unique<T[]>(kChunk));
    ++size_;
    (*this)[size_ - 1] = value;
  }
  // Forgets the elements and keeps one chunk.
  void Clear() {
    chunks_.resize(chunks_.empty() ? 0 : 1);
    size_ = 0;
  }

 private:
  static constexpr size_t kChunk = 4096;
  std::vector<std::unique_ptr<T[]>> chunks_;
  size_t size_ = 0;
};

// Bytes that stay where they are; a text is a number.
class TextArena {
 public:
  uint32_t Add(std::string_view text);  // kCorrupt beyond kMaxPathTextBytes
  std::string_view Get(uint32_t text) const;
  size_t bytes() const { return chunks_.size() * kChunk; }
  void Clear();

 private:
  static constexpr size_t kChunk = 64 * 1024;
  std::vector<std::unique_ptr<char[]>> chunks_;
  size_t used_ = kChunk;  // of the last chunk
};

using PathId = uint32_t;
constexpr PathId kRootPath = 0;
constexpr PathId kNoPath = UINT32_MAX;

struct PathNode {
  enum class Result : uint8_t { kNothing, kDirectory, kOther };
  // What the layer that passes now has here. kLowerLink is a hard link whose target lies in a lower layer.
  enum class Kind : uint8_t { kAbsent, kImplied, kDirectory, kOther, kSymlink, kLowerLink };

  PathId parent = kRootPath;
  uint32_t name = 0;
  uint32_t hash = 0;

  Result result = Result::kNothing;  // what the flattened tree has here
  Kind kind = Kind::kAbsent;         // valid while layer is the current one
  uint16_t layer = UINT16_MAX;
  uint32_t ordinal = 0;     // of the entry that put `kind` here
  uint32_t removed_at = 0;  // what is below, put by entries before this one, is gone
  uint32_t content = 0;     // the ordinal of the inode, or the number of the lower link

  // Layers below (with a smaller number than) covered_by are hidden here and beneath, those below opaque_by beneath.
  // The highest layer that said so, and the latest (lowest).
  uint16_t covered_by = 0, opaque_by = 0;
  uint16_t last_cover = UINT16_MAX, last_opaque = UINT16_MAX;
  uint32_t attributes = UINT32_MAX;  // of a directory; a number that the flattener gives
};

class PathIndex {
 public:
  PathIndex();

  PathNode& operator[](PathId id) { return nodes_[id]; }
  const PathNode& operator[](PathId id) const { return nodes_[id]; }
  size_t size() const { return nodes_.size(); }
  size_t bytes() const { return nodes_.bytes() + names_.bytes() + table_.capacity() * sizeof(PathId); }

  // The child of that name, made when it is new; a parent's id is smaller than its children's. kCorrupt beyond
  // kMaxPaths.
  PathId Child(PathId parent, std::string_view name);

  std::string_view Name(PathId id) const { return names_.Get(nodes_[id].name); }
  // Relative to the root, whose path is empty.
  std::string Path(PathId id) const;
  size_t PathLength(PathId id) const;

 private:
  void Grow();

  Chunked<PathNode> nodes_;
  TextArena names_;
  // A number, and above its bits the highest ones of the node's hash, so that few nodes of other paths are looked at;
  // kNoPath marks a free place. The size is a power of two.
  std::vector<uint32_t> table_;
};

}  // namespace gantry::image
