// The directories of a tree that is being flattened: what their entries said is kept until the end, when all of them
// are handed out, each parent before its children and names sorted.
#pragma once

#include <cstdint>

#include "libimage/layer/flatten.h"
#include "libimage/layer/path_index.h"
#include "libimage/layer/xattr_sets.h"

namespace gantry::image {

class KeptDirectories {
 public:
  // The time of directories without an entry, in place of 0.
  void SetUndated(Time undated) { undated_ = undated; }

  // Takes the attributes of `entry` for `node`, unless an upper layer gave it some. Of one layer the last entry counts.
  void Keep(PathNode& node, const Entry& entry, uint16_t layer);

  // Hands every directory of the result to `sink` and returns their number. One without an entry is 0755, owned by
  // root, and of time 0; with `below` it is told that in place of `sink`.
  uint64_t AddAll(const PathIndex& index, EntrySink& sink, LowerTree* below = nullptr) const;

  size_t bytes() const { return attributes_.bytes() + xattrs_.bytes(); }

 private:
  struct Attributes {
    uint64_t uid = 0, gid = 0;
    Time mtime;
    uint32_t xattrs = 0;  // in xattrs_
    uint16_t mode = 0755;
    uint16_t layer = 0;
  };

  void Add(PathId id, const PathIndex& index, EntrySink& sink, LowerTree* below) const;

  Time undated_;
  Chunked<Attributes> attributes_;
  XattrSets xattrs_;
};

}  // namespace gantry::image
