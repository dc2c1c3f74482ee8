// What changed between the layers of an image and a tree on top of them, as the tar of one more layer.
//
// The tree is the upper directory of an overlay, or a whole tree that replaces what is below. Type, mode, owner,
// extended attributes, content, link target, device numbers and hard links decide what changed; times do not, and a
// file that was written with what it held before is no change. What a layer needs to be applied by every tool goes
// in: the directories above each change, and all names of an inode of which one changed.
//
// Order (OCI image-spec, layer.md): parents before their children; in a directory its whiteouts, then what is there,
// each sorted by bytes. The same trees make the same bytes: times are whole seconds, as other tools write them, and
// whiteouts have none.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/base/stream.h"
#include "libimage/base/workers.h"
#include "libimage/layer/archive.h"
#include "libimage/layer/tree_stack.h"

namespace gantry::image {

struct ChangesOptions {
  // The tree is all there is: what it lacks is gone. Otherwise it is an upper directory, marked as those of the base.
  bool whole_tree = false;
  std::optional<int64_t> epoch;  // later times become this one (SOURCE_DATE_EPOCH)
  size_t threads = 1;            // that compare content; the result does not depend on it
};

struct ChangesResult {
  uint64_t entries = 0;    // in the tar
  uint64_t whiteouts = 0;  // of them
  uint64_t bytes = 0;      // of files
};

class Changes {
 public:
  // Compares. Both are borrowed, and must stay as they are until the end. kUnsupported for a name that layers cannot
  // hold (".wh.x") and for device 0:0 in a whole tree. Sockets are passed over.
  Changes(const TreeStack& base, const Dir& tree, const ChangesOptions& options);

  bool empty() const { return empty_; }

  // The uncompressed tar. Does not finish the sink. kFailed when a file is not what it was a moment ago.
  ChangesResult Write(Sink& tar) const;

 private:
  using Inode = std::pair<uint64_t, uint64_t>;
  enum class What : uint8_t { kEntry, kDirectory, kWhiteout, kOpaque };

  // A path that may go into the layer.
  struct Item {
    std::string name;
    uint32_t parent = 0;
    What what = What::kEntry;
    bool changed = false;
    bool needed = false;  // for something below
  };
  // A name in a directory of the tree, and what the layers below have there.
  struct Child {
    std::string name;
    struct stat status {};
    std::optional<TreeStack::Node> base;
    bool differs = false;  // in more than content

    bool undecided() const;  // content decides
  };
  // Files of one directory, each of which differs from the one below in content or not at all.
  struct Pairs {
    TreeStack::Node base;  // the directory
    std::vector<TreeStack::Node> files;
    std::vector<uint32_t> items;
    std::vector<char> differ;  // for each of them, once compared
  };
  struct Linked {
    uint32_t item;
    Inode now;
    std::optional<Inode> base;
  };

  void Walk(uint32_t directory, const std::optional<TreeStack::Node>& base, bool complete);
  std::vector<Child> Scan(uint32_t directory, const std::optional<TreeStack::Node>& base, bool& complete);
  std::vector<Child> Compare(int dir, std::vector<Child> children, const std::optional<TreeStack::Node>& base) const;
  void NoteGone(uint32_t directory, const std::vector<std::string>& gone, bool all);
  void Visit(uint32_t directory, const Child& child, bool complete);
  bool Differs(int dir, const Child& child, const TreeStack::OpenNode& below) const;
  void CompareLater(const std::optional<TreeStack::Node>& base, std::vector<TreeStack::Node> files,
                    std::vector<uint32_t> items);
  void CompareContents(Pairs& pairs) const;
  void FinishContents();
  void CompareLinks();
  void MarkNeeded();
  uint32_t Append(Item item);
  std::string PathOf(uint32_t item) const;
  UniqueFd OpenDirectory(const std::string& path) const;
  Entry Describe(const std::string& path) const;
  void WriteFile(ArchiveWriter& archive, const Entry& entry) const;

  const TreeStack& base_;
  const Dir& tree_;
  ChangesOptions options_;
  std::vector<Item> items_;  // in the order of the tar; the first is the root
  std::deque<Pairs> pairs_;
  std::vector<Linked> linked_;
  bool empty_ = true;
  JobQueue comparing_;  // last: its jobs use the pairs
};

}  // namespace gantry::image
