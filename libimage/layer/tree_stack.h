// What overlayfs would show of rendered layers stacked on each other, read without mounting anything: whiteouts hide,
// opaque directories hide what is below them, directories merge and have the attributes of the nearest one.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/unpack.h"

namespace gantry::image {

class TreeStack {
 public:
  // One path of the stack. A directory is made up of several layers, the nearest first; all else is of one.
  struct Node {
    std::string path;  // relative, without links; the root's is empty
    std::vector<uint16_t> layers;
    struct stat status {};

    bool is_directory() const { return S_ISDIR(status.st_mode); }
    std::string Child(std::string_view name) const;  // its path
  };

  // A directory of the stack, open in all its layers.
  class OpenNode {
   public:
    // Borrows both.
    OpenNode(const TreeStack& stack, const Node& directory);

    std::optional<Node> Find(std::string_view name) const;
    // These are of a node that Find found.
    Entry Describe(const Node& child) const;
    UniqueFd OpenFile(const Node& child) const;

   private:
    int FdOf(uint16_t layer) const;

    const TreeStack& stack_;
    const Node& directory_;
    std::vector<UniqueFd> fds_;  // of directory_.layers
  };

  // The nearest first, borrowed; kUnsupported for more than 65535. An empty stack has nothing but an empty root.
  TreeStack(std::vector<const Dir*> layers, UnpackOptions::Whiteouts whiteouts);

  // nullopt for an empty stack.
  std::optional<Node> Root() const;

  // What a directory has, sorted by name.
  std::vector<Node> List(const Node& directory) const;
  std::optional<Node> Find(const Node& directory, std::string_view name) const;

  // `path` from the root, as a process with this stack as its root would find it: links are followed, the last one only
  // with `follow`. nullopt when there is nothing, or a file on the way. `resolved`, when given, gets the path without
  // links, of what is missing too. kCorrupt for more than kMaxSymlinkHops.
  std::optional<Node> Resolve(std::string_view path, bool follow = true, std::string* resolved = nullptr) const;

  // Everything about it but content, without what overlayfs keeps there for itself; `name` is its path.
  Entry Describe(const Node& node) const;
  UniqueFd OpenFile(const Node& node) const;

  UnpackOptions::Whiteouts whiteouts() const { return whiteouts_; }

 private:
  UniqueFd OpenDirectory(uint16_t layer, const std::string& path) const;

  std::vector<const Dir*> layers_;
  UnpackOptions::Whiteouts whiteouts_;
};

}  // namespace gantry::image
