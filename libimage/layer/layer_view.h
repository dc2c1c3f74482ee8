// One layer while it passes: what it has at each path by its own order of entries, later ones replacing earlier ones.
//
// Names are resolved by text in the PathIndex, as a process in a root of its own would: symbolic links among the
// parents are followed within the layer, missing parents become implied directories.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/layer/path_index.h"

namespace gantry::image {

class LayerView {
 public:
  // A directory on the way to an entry. What lies directly below it and was put before `gone_before` is gone.
  // `visible`: no higher layer hides it.
  struct Step {
    PathId id = kRootPath;
    uint32_t gone_before = 0;
    bool visible = true;
  };

  // `index` is borrowed.
  explicit LayerView(PathIndex& index) : index_(index) {}

  // Starts a layer. With `superseded`, the entries that a later one of the layer undoes are marked there, by number.
  void Begin(uint16_t layer, std::string what, std::vector<bool>* superseded = nullptr);
  uint16_t layer() const { return layer_; }

  // Counts an entry and returns its number, from 1.
  uint32_t NextEntry();
  uint32_t ordinal() const { return ordinal_; }

  // The directories from the root to the one that `dir` names; valid until the next call.
  const std::vector<Step>& Enter(std::string_view dir);
  // The last of them, without making what is missing.
  Step Look(std::string_view dir);

  // The kind at `id` now, which is a child of `parent`.
  PathNode::Kind KindAt(const Step& parent, PathId id);
  bool Visible(const Step& parent, PathId id) const;

  // Puts what the current entry is. False when that undid something of this layer other than a directory's attributes.
  bool Put(const Step& parent, PathId id, PathNode::Kind kind, uint32_t content);

  // The current entry is a whiteout in `directory`: it has no path of its own, but it implied the directory.
  void NoteWhiteout(const Step& directory);

  // The end of a layer with `superseded`: marks what lay below directories that went away.
  void MarkRemoved();

  // Remembers where the symbolic link of the entry `ordinal` leads.
  void SetLinkText(uint32_t ordinal, std::string_view text);

  // The name under which the inode of an entry is in the result; kNoPath when it is not.
  PathId NameOf(uint32_t ordinal) const { return inodes_[ordinal].name; }
  void SetName(uint32_t ordinal, PathId name) { inodes_[ordinal].name = name; }

  size_t bytes() const { return inodes_.bytes() + texts_.bytes(); }

 private:
  struct Inode {
    PathId name = kNoPath;
    uint32_t text = 0;
  };

  PathNode& Touch(PathId id);
  void MarkTaken(const PathNode& node);
  void Walk(std::string_view dir, bool make, std::vector<Step>& steps);
  // Puts the target of a symbolic link before what is left of `text`.
  void Follow(const PathNode& link, std::string& text, size_t& at, size_t& hops, std::vector<Step>& steps) const;
  void RequireBounds(const std::vector<Step>& directories) const;
  [[noreturn]] void Fail(std::string_view problem, PathId at) const;

  PathIndex& index_;
  uint16_t layer_ = 0;
  std::string what_;
  uint32_t ordinal_ = 0;
  std::vector<bool>* superseded_ = nullptr;
  std::vector<std::pair<uint32_t, PathId>> whiteouts_;  // with superseded_: ordinal and directory
  Chunked<Inode> inodes_;
  TextArena texts_;
  std::string entered_;  // what steps_ is for, while entered_valid_
  bool entered_valid_ = false;
  std::vector<Step> steps_, look_;
};

}  // namespace gantry::image
