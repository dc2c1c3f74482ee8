// The paths of a tree to which one layer after the other is added, from the base up, and which of them are directories.
// About 70 bytes each, those that went away too.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/layer/path_index.h"

namespace gantry::image {

class TreePaths {
 public:
  using Take = std::function<void(std::string_view path)>;

  // Removes what is below `path`, and without `inside` the path itself.
  void Hide(std::string_view path, bool inside);
  // Anything but a directory removes what was below it.
  void Put(std::string_view path, bool is_directory);

  bool Has(std::string_view path) { return IsPresent(Find(path)); }
  // The root always is one.
  bool HasDirectory(std::string_view path);

  // Whether a path that was put is not there.
  bool removed() const;

  // Hands on each path, relative and without the root: what is in a directory behind it and sorted by name.
  void ForEach(const Take& take) const;

 private:
  PathId Find(std::string_view path);
  bool IsPresent(PathId id) const;
  uint32_t Tick();
  void Walk(PathId directory, const std::vector<PathId>& by_parent, std::string& path, const Take& take) const;

  // Of a node the `result`, and by the clock: `ordinal`, when it was put; `content`, when it was hidden; `removed_at`,
  // when all below it was.
  PathIndex index_;
  uint32_t clock_ = 1;
};

}  // namespace gantry::image
