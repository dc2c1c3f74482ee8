// What a tree of files is, entry by entry, in a form that can be compared and read: from a directory, or from what a
// Flattener hands out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "libimage/layer/archive.h"

namespace gantry::testing {

struct TreeEntry {
  std::string what;   // type, mode, owner, content or target or device numbers, xattrs: everything but the next two
  std::string first;  // the first name of its inode; its own, when it has no other
  image::Time mtime;
};

// By path from the root, which is "". Names are bytes.
using Tree = std::map<std::string, TreeEntry>;

// Without following links; needs root, to see all extended attributes.
Tree TreeOf(const std::string& directory);

// Of the entries of a tar below `prefix` ("rootfs"), which must name what they link to before they link to it.
Tree TreeOfArchive(const std::string& tar, const std::string& prefix);

// One line for every difference, `left` and `right` by name; empty when there is none.
struct TreeComparison {
  std::string left, right;   // how to call them
  bool split_links = false;  // right may have several inodes where left has one
  // Left's directories that were changed from then on have no time that was meant: implied ones, and their parents.
  int64_t made_at = INT64_MAX;
};
std::string Compare(const Tree& left, const Tree& right, const TreeComparison& how);

}  // namespace gantry::testing
