// The paths of a tree to which one layer after the other is added, from the base up, and which of them are directories.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::image {

class TreePaths {
 public:
  // Removes what is below `path`, and without `inside` the path itself.
  void Hide(const std::string& path, bool inside);
  // Anything but a directory removes what was below it.
  void Put(const std::string& path, bool is_directory);

  bool Has(const std::string& path) const { return paths_.contains(path); }
  bool HasDirectory(const std::string& path) const;

  // Whether a path was ever removed.
  bool removed() const { return removed_; }

  // "/a", "/a/b", sorted, without the root.
  std::vector<std::string> Absolute() const;

 private:
  void EraseBelow(const std::string& path);

  std::map<std::string, bool> paths_;  // relative; true is a directory
  bool removed_ = false;
};

}  // namespace gantry::image
