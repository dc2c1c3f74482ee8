#include "libimage/convert/tree_paths.h"

#include <algorithm>
#include <tuple>

#include "libimage/base/error.h"

namespace gantry::image {

using Result = PathNode::Result;

PathId TreePaths::Find(std::string_view path) {
  PathId id = kRootPath;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    id = index_.Child(id, path.substr(at, end - at));
    at = end + 1;
  }
  return id;
}

bool TreePaths::IsPresent(PathId id) const {
  const PathNode& node = index_[id];
  if (node.result == Result::kNothing || node.ordinal < node.content)
    return false;
  for (PathId at = id; at != kRootPath;) {
    at = index_[at].parent;
    if (node.ordinal < index_[at].removed_at)
      return false;
  }
  return true;
}

uint32_t TreePaths::Tick() {
  if (clock_ == UINT32_MAX)
    throw Error(ErrorKind::kCorrupt, "the layers hide more than an honest image could have");
  return ++clock_;
}

void TreePaths::Hide(std::string_view path, bool inside) {
  PathNode& node = index_[Find(path)];
  node.removed_at = Tick();
  if (!inside)
    node.content = clock_;
}

void TreePaths::Put(std::string_view path, bool is_directory) {
  if (path.empty())
    return;
  PathNode& node = index_[Find(path)];
  if (!is_directory && node.result == Result::kDirectory)
    node.removed_at = Tick();
  node.result = is_directory ? Result::kDirectory : Result::kOther;
  node.ordinal = clock_;
}

bool TreePaths::HasDirectory(std::string_view path) {
  const PathId id = Find(path);
  return id == kRootPath || (index_[id].result == Result::kDirectory && IsPresent(id));
}

bool TreePaths::removed() const {
  for (PathId id = 0; id < index_.size(); ++id) {
    if (index_[id].result != Result::kNothing && !IsPresent(id))
      return true;
  }
  return false;
}

void TreePaths::ForEach(const Take& take) const {
  std::vector<bool> wanted(index_.size());  // present, or on the way to what is
  for (PathId id = 0; id < index_.size(); ++id) {
    if (!IsPresent(id))
      continue;
    for (PathId at = id; at != kRootPath && !wanted[at]; at = index_[at].parent) wanted[at] = true;
  }
  std::vector<PathId> by_parent;
  for (PathId id = 0; id < index_.size(); ++id) {
    if (wanted[id])
      by_parent.push_back(id);
  }
  std::sort(by_parent.begin(), by_parent.end(), [this](PathId a, PathId b) {
    return std::tuple(index_[a].parent, index_.Name(a)) < std::tuple(index_[b].parent, index_.Name(b));
  });
  std::string path;
  Walk(kRootPath, by_parent, path, take);
}

void TreePaths::Walk(PathId directory, const std::vector<PathId>& by_parent, std::string& path,
                     const Take& take) const {
  const size_t length = path.size();
  auto at = std::lower_bound(by_parent.begin(), by_parent.end(), directory,
                             [this](PathId id, PathId parent) { return index_[id].parent < parent; });
  for (; at != by_parent.end() && index_[*at].parent == directory; ++at) {
    path += path.empty() ? "" : "/";
    path += index_.Name(*at);
    if (IsPresent(*at))
      take(path);
    Walk(*at, by_parent, path, take);
    path.resize(length);
  }
}

}  // namespace gantry::image
