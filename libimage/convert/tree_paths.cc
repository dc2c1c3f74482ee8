#include "libimage/convert/tree_paths.h"

namespace gantry::image {

// In the order of bytes all that begins with "path/" stands together.
void TreePaths::EraseBelow(const std::string& path) {
  const auto first = path.empty() ? paths_.begin() : paths_.lower_bound(path + "/");
  const auto end = path.empty() ? paths_.end() : paths_.lower_bound(path + static_cast<char>('/' + 1));
  removed_ |= first != end;
  paths_.erase(first, end);
}

void TreePaths::Hide(const std::string& path, bool inside) {
  EraseBelow(path);
  if (!inside)
    removed_ |= paths_.erase(path) != 0;
}

void TreePaths::Put(const std::string& path, bool is_directory) {
  if (path.empty())
    return;
  if (!is_directory)
    EraseBelow(path);
  paths_.insert_or_assign(path, is_directory);
}

bool TreePaths::HasDirectory(const std::string& path) const {
  const auto found = paths_.find(path);
  return path.empty() || (found != paths_.end() && found->second);
}

std::vector<std::string> TreePaths::Absolute() const {
  std::vector<std::string> out;
  out.reserve(paths_.size());
  for (const auto& [path, is_directory] : paths_) out.push_back("/" + path);
  return out;
}

}  // namespace gantry::image
