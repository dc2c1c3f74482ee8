#include "libimage/layer/layer_view.h"

#include <algorithm>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/layer/flatten.h"
#include "libimage/layer/layer.h"

namespace gantry::image {

using Kind = PathNode::Kind;

void LayerView::Begin(uint16_t layer, std::string what, std::vector<bool>* superseded) {
  layer_ = layer;
  superseded_ = superseded;
  if (superseded_)
    superseded_->assign(1, false);
  what_ = std::move(what);
  ordinal_ = 0;
  inodes_.Clear();
  inodes_.Append({});  // ordinals begin with 1
  texts_.Clear();
  whiteouts_.clear();
  entered_valid_ = false;
}

uint32_t LayerView::NextEntry() {
  inodes_.Append({});
  if (superseded_)
    superseded_->push_back(false);
  return ++ordinal_;
}

PathNode& LayerView::Touch(PathId id) {
  PathNode& node = index_[id];
  if (node.layer != layer_) {
    node.layer = layer_;
    node.kind = Kind::kAbsent;
    node.ordinal = 0;
    node.removed_at = 0;
  }
  return node;
}

Kind LayerView::KindAt(const Step& parent, PathId id) {
  const PathNode& node = Touch(id);
  return node.ordinal < parent.gone_before ? Kind::kAbsent : node.kind;
}

bool LayerView::Visible(const Step& parent, PathId id) const {
  // The root is its own parent; an opaque root hides what is in it, not what it is.
  const bool listed = id == kRootPath || layer_ >= index_[parent.id].opaque_by;
  return parent.visible && listed && layer_ >= index_[id].covered_by;
}

const std::vector<LayerView::Step>& LayerView::Enter(std::string_view dir) {
  if (!entered_valid_ || entered_ != dir) {
    entered_valid_ = false;
    Walk(dir, true, steps_);
    entered_ = dir;
    entered_valid_ = true;
  }
  return steps_;
}

LayerView::Step LayerView::Look(std::string_view dir) {
  Walk(dir, false, look_);
  return look_.back();
}

void LayerView::Walk(std::string_view dir, bool make, std::vector<Step>& steps) {
  const PathNode& root = Touch(kRootPath);
  const Step first{kRootPath, root.removed_at, layer_ >= root.covered_by};
  steps.assign(1, first);
  std::string text(dir);
  size_t hops = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('/', at), text.size());
    const std::string_view name = std::string_view(text).substr(at, end - at);
    at = std::min(end + 1, text.size());
    if (name.empty() || name == ".")
      continue;
    if (name == "..") {
      if (steps.size() > 1)
        steps.pop_back();
      continue;
    }
    const PathId id = index_.Child(steps.back().id, name);
    const Kind kind = KindAt(steps.back(), id);
    PathNode& node = index_[id];
    if (kind == Kind::kSymlink) {
      Follow(node, text, at, hops, steps);
      continue;
    }
    if (kind == Kind::kOther || kind == Kind::kLowerLink)
      Fail("is not a directory, but an entry lies below it", id);
    if (kind == Kind::kAbsent && make) {
      MarkTaken(node);
      node.kind = Kind::kImplied;
      node.ordinal = ordinal_;
    }
    steps.push_back({id, std::max(steps.back().gone_before, node.removed_at), Visible(steps.back(), id)});
  }
  if (hops > 0)
    RequireBounds(steps);
}

// A name is bounded where it is parsed; links may make more of it.
void LayerView::RequireBounds(const std::vector<Step>& directories) const {
  const size_t depth = directories.size() - 1;  // the root is none
  if (depth <= kMaxPathDepth && index_.PathLength(directories.back().id) < kMaxPathBytes - kMaxNameBytes)
    return;
  throw Error(ErrorKind::kCorrupt, what_ + ": entry " + std::to_string(ordinal_) + " is too long or more than " +
                                       std::to_string(kMaxPathDepth) +
                                       " directories deep once symbolic links are followed");
}

void LayerView::Follow(const PathNode& link, std::string& text, size_t& at, size_t& hops,
                       std::vector<Step>& steps) const {
  if (++hops > kMaxSymlinkHops)
    throw Error(ErrorKind::kCorrupt, what_ + ": entry " + std::to_string(ordinal_) + " lies behind more than " +
                                         std::to_string(kMaxSymlinkHops) + " symbolic links");
  const std::string_view target = texts_.Get(inodes_[link.content].text);
  if (target.starts_with('/'))
    steps.resize(1);
  text = std::string(target) + "/" + text.substr(at);
  at = 0;
}

bool LayerView::Put(const Step& parent, PathId id, Kind kind, uint32_t content) {
  const Kind was = KindAt(parent, id);
  PathNode& node = index_[id];
  const bool was_directory = was == Kind::kDirectory || was == Kind::kImplied;
  const bool undone = was != Kind::kAbsent && !(was_directory && kind == Kind::kDirectory);
  MarkTaken(node);
  if (was_directory && kind != Kind::kDirectory)
    node.removed_at = ordinal_;
  if (undone)
    entered_valid_ = false;
  node.kind = kind;
  node.ordinal = ordinal_;
  node.content = content;
  return !undone;
}

// An implied directory is no entry of its own: what implied it may lie elsewhere, behind a link with "..".
void LayerView::MarkTaken(const PathNode& node) {
  if (superseded_ && node.kind != Kind::kAbsent && node.kind != Kind::kImplied)
    (*superseded_)[node.ordinal] = true;
}

void LayerView::NoteWhiteout(const Step& directory) {
  if (superseded_)
    whiteouts_.emplace_back(ordinal_, directory.id);
}

void LayerView::MarkRemoved() {
  std::vector<uint32_t> gone_before(index_.size(), 0);
  for (PathId id = 0; id < index_.size(); ++id) {  // parents come first
    const PathNode& node = index_[id];
    const bool here = node.layer == layer_;
    const uint32_t above = id == kRootPath ? 0 : gone_before[node.parent];
    gone_before[id] = std::max(above, here ? node.removed_at : 0);
    if (here && node.ordinal < above)
      MarkTaken(node);
  }
  for (const auto& [ordinal, directory] : whiteouts_) {
    if (ordinal < gone_before[directory])
      (*superseded_)[ordinal] = true;
  }
}

void LayerView::SetLinkText(uint32_t ordinal, std::string_view text) { inodes_[ordinal].text = texts_.Add(text); }

void LayerView::Fail(std::string_view problem, PathId at) const {
  throw Error(ErrorKind::kCorrupt, what_ + ": " + Quoted(index_.Path(at)) + " " + std::string(problem) + " (entry " +
                                       std::to_string(ordinal_) + ")");
}

}  // namespace gantry::image
