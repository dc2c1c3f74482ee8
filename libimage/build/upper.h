// A directory that is filled as overlayfs would fill its upper one, without mounting it: what goes in lies on top of a
// stack of layers, and brings along the directories above it as they are there. Changes (changes.h) make a layer of it.
//
// Paths are those of the image: links among them are followed inside it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/layer/attributes.h"
#include "libimage/layer/tree_stack.h"

namespace gantry::image {

struct CopyRules {
  std::optional<std::pair<uint32_t, uint32_t>> owner;          // of all that is copied; nullopt keeps each its own
  std::optional<uint32_t> mode;                                // of what is copied, but for links
  bool xattrs = false;                                         // kept, where the source is an image
  std::function<bool(const std::string& path)> left_out = {};  // of the source; may be empty
  bool exceptions = false;             // something below a directory that is left out may not be
  bool replaces = false;               // takes the place of what it meets, as extracting an archive does
  std::set<std::string> implied = {};  // directories of the source that say nothing about one that is there already
};

class Upper {
 public:
  // All borrowed; `upper` is empty, and gets the attributes of the root below. `base` has the nearest layer first.
  Upper(const std::vector<const Dir*>& base, const Dir& upper, const UnpackOptions& options);

  // Where `path` leads; what of it is missing stays as written. Relative to the root.
  std::string Resolve(std::string_view path) const;
  bool IsDirectory(std::string_view path) const;

  // Copies what `node` is to `to`, a path as Resolve gives it. A directory merges into one that is there, which keeps
  // its attributes unless the rules replace; kFailed where a directory and something else meet. Directories above it
  // that are missing belong to the rules' owner.
  void Copy(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const CopyRules& rules);

  // Makes what is missing of `path`, owned by `owner`.
  void MakeDirectories(const std::string& path, std::pair<uint32_t, uint32_t> owner);

  // The newest time of what was copied, in seconds since 1970.
  int64_t newest() const { return newest_; }

 private:
  using Owner = std::pair<uint32_t, uint32_t>;

  // A directory of the upper one that is open, and what the layers below have there.
  struct Place {
    std::string path;
    UniqueFd fd;
    std::optional<TreeStack::Node> below;              // a directory, if anything
    std::optional<TreeStack::OpenNode> children = {};  // of `below`
  };
  // A name in a Place: what the upper directory has, else what is below.
  struct There {
    bool here = false, directory = false, anything = false;
  };

  const Place& Enter(std::string_view path, const CopyRules& rules);
  Place Descend(const Place& from, const std::string& name, const CopyRules& rules);
  void Remove(const std::string& path);
  There Look(const Place& place, const std::string& name) const;
  void CopyNode(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const CopyRules& rules,
                bool top);
  void CopyDirectory(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const CopyRules& rules,
                     bool top);
  void CopyOther(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const CopyRules& rules);
  void MakeFile(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const Entry& entry);
  Entry AsCopied(const TreeStack& from, const TreeStack::Node& node, const CopyRules& rules);

  TreeStack base_;
  TreeStack merged_;  // with `upper` on top
  const Dir& upper_;
  UnpackResult ignored_;
  AttributeWriter attributes_;
  std::map<std::pair<uint64_t, uint64_t>, std::string> links_;  // by inode of the source
  std::unique_ptr<Place> entered_;                              // the last one: files come in directories
  int64_t newest_ = 0;
};

// Of an upper directory that an overlay with "userxattr" filled: its marks become those of one without.
void TrustUserMarks(const Dir& upper);

// Takes out of `upper` what the runner put there for itself: files in /etc that are the container's own, and mount
// points that the layers below do not have.
void RemoveRunnersFiles(const std::vector<const Dir*>& base, const Dir& upper, const UnpackOptions& options);

}  // namespace gantry::image
