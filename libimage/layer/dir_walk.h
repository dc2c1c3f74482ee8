// Walking to directories of a tree that is being made, below one root and never out of it.
//
// Every step opens one name with O_NOFOLLOW below the descriptor of the step before, so a name can neither climb nor
// lead elsewhere. Symbolic links are read and followed here, as a process with the tree's root as its root would.
// Entries of a layer come directory by directory: the descriptors of the way there are kept, so that the next entry of
// the same directory costs no system call.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/fd.h"

namespace gantry::image {

class DirWalk {
 public:
  // Called after a missing directory was made (mode 0700).
  using Made = std::function<void(const std::string& path)>;

  // Borrows the descriptor of the root.
  DirWalk(int root, Made made) : root_(root), made_(std::move(made)) {}

  // Opens the directory `path` (normalised; "" is the root) and makes what is missing of it. The descriptor is this
  // object's and valid until the next call. kCorrupt when something on the way is neither a directory nor a link, or
  // when there are too many links or components.
  int Enter(std::string_view path);

  // Where Enter went: its path without links.
  const std::string& path() const { return path_; }

 private:
  struct Level {
    size_t end;   // of its name in path_
    UniqueFd fd;  // none far down, except in the last level
  };

  int Top() const { return levels_.empty() ? root_ : levels_.back().fd.get(); }
  size_t CommonLevels(std::string_view path) const;
  void Queue(std::string_view path);
  void PopTo(size_t count);
  void Step(const std::string& name);
  void Push(const std::string& name, UniqueFd fd);
  void StepOver(const std::string& name);

  int root_;
  Made made_;
  std::string path_;
  std::vector<Level> levels_;
  std::vector<std::string> todo_;  // the last is next
  int links_ = 0;
};

}  // namespace gantry::image
