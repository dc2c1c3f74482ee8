// What differs between two images, in whatever formats they are: what they execute and are labelled with, and their
// trees, path by path (gantry-diff(1)).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/layer/listing.h"
#include "libimage/model/config.h"

namespace gantry::image {

// One member of the configuration, or one entry of what has names in it.
struct ConfigDifference {
  std::string field;          // "args", "env", "label", ...
  std::string name;           // of a variable or a label
  json::Value before, after;  // null where there is none of that name
};

// In a fixed order. Empty exactly when the documents of the identities (identity.h) agree in all but the tree, and the
// labels are the same. kCorrupt as Execution::Of.
std::vector<ConfigDifference> CompareConfigs(const ImageConfig& before, const ImageConfig& after);

// A path that only one tree has, or whose inodes differ in the named ways: "type", "mode", "owner", "size", "content",
// "target", "device", "link" (the first name of the inode), "time"; and the extended attributes that do.
struct PathDifference {
  std::string_view path;
  const ListedPath* before;  // null where it has no such path
  const ListedPath* after;
  std::vector<std::string_view> ways = {};  // empty for a path that only one has
  std::vector<std::string_view> xattrs = {};
};

// Calls `each` for every difference, sorted by path. Times differ only where both listings keep them.
void CompareTrees(const Listing& before, const Listing& after, const std::function<void(const PathDifference&)>& each);

}  // namespace gantry::image
