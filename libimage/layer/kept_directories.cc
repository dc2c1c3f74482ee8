#include "libimage/layer/kept_directories.h"

#include <algorithm>

namespace gantry::image {

void KeptDirectories::Keep(PathNode& node, const Entry& entry, uint16_t layer) {
  if (node.attributes == UINT32_MAX) {
    node.attributes = static_cast<uint32_t>(attributes_.size());
    attributes_.Append({});
  } else if (attributes_[node.attributes].layer != layer) {
    return;
  }
  attributes_[node.attributes] = {
      entry.uid, entry.gid, entry.mtime, xattrs_.Number(entry.xattrs), static_cast<uint16_t>(entry.mode & 07777),
      layer};
}

uint64_t KeptDirectories::AddAll(const PathIndex& index, EntrySink& sink, LowerTree* below) const {
  std::vector<PathId> all;
  for (PathId id = 1; id < index.size(); ++id) {
    if (index[id].result == PathNode::Result::kDirectory)
      all.push_back(id);
  }
  std::sort(all.begin(), all.end(), [&](PathId a, PathId b) {
    return std::pair(index[a].parent, index.Name(a)) < std::pair(index[b].parent, index.Name(b));
  });
  using At = std::vector<PathId>::const_iterator;
  const auto children = [&](PathId parent) {
    const auto less = [&](PathId id, PathId than) { return index[id].parent < than; };
    const At first = std::lower_bound(all.cbegin(), all.cend(), parent, less);
    return std::pair(first, std::lower_bound(first, all.cend(), parent + 1, less));
  };
  Add(kRootPath, index, sink, below);
  std::vector<std::pair<At, At>> open{children(kRootPath)};
  while (!open.empty()) {
    auto& [next, end] = open.back();
    if (next == end) {
      open.pop_back();
      continue;
    }
    const PathId id = *next++;
    Add(id, index, sink, below);
    open.push_back(children(id));
  }
  return all.size() + 1;
}

void KeptDirectories::Add(PathId id, const PathIndex& index, EntrySink& sink, LowerTree* below) const {
  if (below != nullptr && index[id].attributes == UINT32_MAX)
    return below->Imply(index.Path(id));
  Entry entry;
  entry.name = index.Path(id);
  entry.type = EntryType::kDirectory;
  entry.mode = 0755;
  entry.mtime = undated_;
  if (const uint32_t number = index[id].attributes; number != UINT32_MAX) {
    const Attributes& attributes = attributes_[number];
    entry.mode = attributes.mode;
    entry.uid = attributes.uid;
    entry.gid = attributes.gid;
    entry.mtime = attributes.mtime;
    entry.xattrs = xattrs_[attributes.xattrs];
  }
  sink.Add(entry);
}

}  // namespace gantry::image
