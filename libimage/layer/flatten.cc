#include "libimage/layer/flatten.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/layer/kept_directories.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/layer_view.h"
#include "libimage/layer/path_index.h"

namespace gantry::image {
namespace {

using Kind = PathNode::Kind;
using Result = PathNode::Result;
using Step = LayerView::Step;

// Names of an upper layer whose inode lies in a layer below it.
struct LowerLink {
  uint16_t layer = 0;
  std::vector<PathId> names;  // only those that are in the result
};

// Everything that one run learns.
struct Tree {
  PathIndex index;
  LayerView view{index};
  KeptDirectories directories;
  std::unordered_map<PathId, std::vector<uint32_t>> waiting;  // by target, numbers of lower links
  std::vector<LowerLink> lower_links;
  std::string link_to_directory;                             // a problem, empty when there is none
  std::unordered_map<uint32_t, std::vector<PathId>> wanted;  // by ordinal: names whose content has passed already
};

}  // namespace

struct Flattener::State {
  State(size_t count, OpenLayer opener, FlattenOptions given)
      : layer_count(count), open(std::move(opener)), options(std::move(given)), superseded(count) {}

  bool Run(EntrySink& into);

  // One layer.
  bool PassOver(size_t layer);
  void Index(size_t layer);
  void FetchWanted(size_t layer);
  bool Take(ArchiveReader& reader, Entry& entry);
  void Hide(const Step& parent, std::string_view name);
  void HideBelow(const Step& directory);
  bool TakeDirectory(const Step& parent, PathId id, const Entry& entry, bool counts);
  bool TakeInode(const Step& parent, PathId id, ArchiveReader& reader, const Entry& entry, bool counts);
  bool TakeLink(const Step& parent, PathId id, const Entry& entry, bool counts);
  bool TakeLowerLink(const Step& parent, PathId id, PathId target, Kind target_kind, bool counts);
  bool LinkToInode(const Step& parent, PathId id, PathId target, const Entry& entry, bool counts);

  // False when the run cannot go on: a path came twice, and which entry counts is not known yet.
  bool Put(const Step& parent, PathId id, Kind kind, uint32_t content) {
    return tree->view.Put(parent, id, kind, content) || superseded[tree->view.layer()];
  }

  // The result.
  void ClaimParents(const std::vector<Step>& parents, const Entry& entry);
  const std::vector<PathId>& Claim(const Step& parent, PathId id);
  bool HiddenBetween(PathId id, uint16_t low, uint16_t high) const;
  void NoteDirectory(PathId id, const Entry& entry);
  void Emit(ArchiveReader& reader, const Entry& entry, std::span<const PathId> names);
  void EmitLinks(const Entry& like, PathId to, std::span<const PathId> names);
  void CopyContent(ArchiveReader& reader, const Entry& entry);
  void AddDefaults();
  void TellLinks();

  // Adds the layer to errors of parts that do not know it.
  template <typename Body>
  auto Named(Body body) const {
    try {
      return body();
    } catch (const Error& error) {
      throw error.WithContext(LayerName(tree->view.layer()));
    }
  }

  std::string LayerName(size_t layer) const;
  [[noreturn]] void Fail(const Entry& entry, const std::string& problem) const;

  size_t layer_count;
  OpenLayer open;
  FlattenOptions options;
  std::vector<std::optional<std::vector<bool>>> superseded;  // by layer and ordinal, once they had to be found out
  std::unique_ptr<Tree> tree;
  EntrySink* sink = nullptr;  // null while only an index is made
  FlattenResult result;
  // Of one call, here so that their memory serves the next.
  std::vector<PathId> claimed;
  Entry emitted;
};

std::string Flattener::State::LayerName(size_t layer) const {
  return "layer " + std::to_string(options.first + layer + 1) + " of " + options.what;
}

void Flattener::State::Fail(const Entry& entry, const std::string& problem) const {
  throw Error(ErrorKind::kCorrupt, LayerName(tree->view.layer()) + ": entry " + std::to_string(tree->view.ordinal()) +
                                       " " + Quoted(entry.name) + " " + problem);
}

bool Flattener::State::Run(EntrySink& into) {
  const uint64_t passes = result.layer_passes;
  result = {};
  result.layer_passes = passes;
  tree = std::make_unique<Tree>();
  tree->directories.SetUndated(options.undated);
  sink = &into;
  for (size_t layer = layer_count; layer-- > 0;) {
    if (PassOver(layer)) {
      FetchWanted(layer);
      continue;
    }
    if (superseded[0])
      throw Error(ErrorKind::kCorrupt, LayerName(layer) + " changed while it was read");
    for (size_t below = layer + 1; below-- > 0;) Index(below);
    tree.reset();
    return false;
  }
  if (options.below != nullptr) {
    TellLinks();
  } else if (!tree->waiting.empty()) {
    const PathId target = std::min_element(tree->waiting.begin(), tree->waiting.end())->first;
    throw Error(ErrorKind::kCorrupt, options.what + " has a hard link to " + Quoted(tree->index.Path(target)) +
                                         ", which no layer at or below it has");
  }
  AddDefaults();
  result.entries += tree->directories.AddAll(tree->index, *sink, options.below);
  result.paths = tree->index.size();
  result.index_bytes = tree->index.bytes() + tree->directories.bytes();
  tree.reset();
  return true;
}

void Flattener::State::TellLinks() {
  std::map<PathId, std::vector<std::string>> names;  // in an order that is the same on every run
  for (const auto& [target, numbers] : tree->waiting) {
    names[target];
    for (const uint32_t number : numbers) {
      for (const PathId name : tree->lower_links[number].names) names[target].push_back(tree->index.Path(name));
    }
  }
  for (const auto& [target, all] : names) options.below->Link(tree->index.Path(target), all);
}

bool Flattener::State::PassOver(size_t layer) {
  tree->view.Begin(static_cast<uint16_t>(layer), LayerName(layer));
  ++result.layer_passes;
  ArchiveReader reader(open(layer), LayerName(layer));
  Entry entry;
  while (reader.Next(entry)) {
    if (!Take(reader, entry))
      return false;
  }
  if (!tree->link_to_directory.empty())
    throw Error(ErrorKind::kCorrupt, LayerName(layer) + " " + tree->link_to_directory);
  return true;
}

// Finds out which entries of a layer count, without keeping anything else.
void Flattener::State::Index(size_t layer) {
  tree = std::make_unique<Tree>();
  EntrySink* const kept = std::exchange(sink, nullptr);
  std::vector<bool> marks;
  tree->view.Begin(static_cast<uint16_t>(layer), LayerName(layer), &marks);
  ++result.layer_passes;
  ArchiveReader reader(open(layer), LayerName(layer));
  Entry entry;
  while (reader.Next(entry)) Take(reader, entry);
  tree->view.MarkRemoved();
  superseded[layer] = std::move(marks);
  sink = kept;
}

// Reads a layer again for contents that passed under a hidden name before a visible link to them was seen.
void Flattener::State::FetchWanted(size_t layer) {
  if (tree->wanted.empty())
    return;
  ++result.layer_passes;
  ArchiveReader reader(open(layer), LayerName(layer));
  Entry entry;
  for (uint32_t ordinal = 1; reader.Next(entry); ++ordinal) {
    if (const auto names = tree->wanted.find(ordinal); names != tree->wanted.end()) {
      Emit(reader, entry, names->second);
      tree->wanted.erase(names);
    }
  }
  if (!tree->wanted.empty())
    throw Error(ErrorKind::kCorrupt, LayerName(layer) + " changed while it was read");
}

bool Flattener::State::Take(ArchiveReader& reader, Entry& entry) {
  LayerView& view = tree->view;
  const uint32_t ordinal = view.NextEntry();
  const bool counts = sink && !(superseded[view.layer()] && (*superseded[view.layer()]).at(ordinal));
  const LayerEntry meant = Named([&] { return Classify(entry); });
  if (meant.kind == LayerEntry::Kind::kIgnored)
    return true;
  if (meant.kind == LayerEntry::Kind::kPath && !meant.path)
    return TakeDirectory(Step(), kRootPath, entry, counts);
  const bool opaque = meant.kind == LayerEntry::Kind::kOpaque;
  const auto [directory, name] = SplitPath(meant.path ? std::string_view(meant.path->str()) : std::string_view());
  const std::vector<Step>& parents = view.Enter(!opaque ? directory : meant.path ? meant.path->str() : "");
  const Step parent = parents.back();
  if (counts)
    ClaimParents(parents, entry);
  if (meant.kind != LayerEntry::Kind::kPath) {
    view.NoteWhiteout(parent);
    opaque ? HideBelow(parent) : Hide(parent, name);
    return true;
  }
  const PathId id = tree->index.Child(parent.id, name);
  if (entry.type == EntryType::kDirectory)
    return TakeDirectory(parent, id, entry, counts);
  if (entry.type == EntryType::kHardLink)
    return TakeLink(parent, id, entry, counts);
  return TakeInode(parent, id, reader, entry, counts);
}

void Flattener::State::Hide(const Step& parent, std::string_view name) {
  const PathId id = tree->index.Child(parent.id, name);
  if (sink && options.below)
    options.below->Hide(tree->index.Path(id), false);
  PathNode& node = tree->index[id];
  node.covered_by = std::max(node.covered_by, tree->view.layer());
  node.last_cover = tree->view.layer();
}

void Flattener::State::HideBelow(const Step& directory) {
  if (sink && options.below)
    options.below->Hide(tree->index.Path(directory.id), true);
  PathNode& node = tree->index[directory.id];
  node.opaque_by = std::max(node.opaque_by, tree->view.layer());
  node.last_opaque = tree->view.layer();
}

void Flattener::State::ClaimParents(const std::vector<Step>& parents, const Entry& entry) {
  for (const Step& step : parents) {
    if (tree->waiting.empty())
      break;
    NoteDirectory(step.id, entry);
  }
  for (size_t i = parents.size(); i-- > 0;) {
    PathNode& node = tree->index[parents[i].id];
    if (node.result != Result::kNothing)
      return;  // then its parents are claimed too
    if (parents[i].visible)
      node.result = Result::kDirectory;
  }
}

bool Flattener::State::TakeDirectory(const Step& parent, PathId id, const Entry& entry, bool counts) {
  const bool fine = Put(parent, id, Kind::kDirectory, 0);
  if (!counts || !fine)
    return fine;
  NoteDirectory(id, entry);
  PathNode& node = tree->index[id];
  if (!tree->view.Visible(parent, id) || node.result == Result::kOther)
    return true;
  node.result = Result::kDirectory;
  tree->directories.Keep(node, entry, tree->view.layer());
  return true;
}

bool Flattener::State::TakeInode(const Step& parent, PathId id, ArchiveReader& reader, const Entry& entry,
                                 bool counts) {
  LayerView& view = tree->view;
  const bool symlink = entry.type == EntryType::kSymlink;
  const bool fine = Put(parent, id, symlink ? Kind::kSymlink : Kind::kOther, view.ordinal());
  if (symlink)
    view.SetLinkText(view.ordinal(), entry.link);
  if (!counts || !fine)
    return fine;
  const std::vector<PathId>& names = Claim(parent, id);
  if (!names.empty())
    view.SetName(view.ordinal(), names.front());
  Emit(reader, entry, names);
  return true;
}

bool Flattener::State::TakeLink(const Step& parent, PathId id, const Entry& entry, bool counts) {
  const RelPath path = Named([&] { return HardLinkTarget(entry.link); });
  const auto [directory, name] = SplitPath(path.str());
  const Step target_parent = tree->view.Look(directory);
  const PathId target = tree->index.Child(target_parent.id, name);
  const Kind kind = tree->view.KindAt(target_parent, target);
  if (kind == Kind::kDirectory || kind == Kind::kImplied)
    Fail(entry, "is a hard link to a directory");
  if (target == id) {
    if (kind == Kind::kAbsent)
      Fail(entry, "is a hard link to itself");
    return true;
  }
  if (kind == Kind::kAbsent || kind == Kind::kLowerLink)
    return TakeLowerLink(parent, id, target, kind, counts);
  return LinkToInode(parent, id, target, entry, counts);
}

bool Flattener::State::LinkToInode(const Step& parent, PathId id, PathId target, const Entry& entry, bool counts) {
  const uint32_t inode = tree->index[target].content;
  const bool fine = Put(parent, id, tree->index[target].kind, inode);
  if (!counts || !fine)
    return fine;
  const std::vector<PathId>& names = Claim(parent, id);
  if (names.empty())
    return true;
  if (const PathId to = tree->view.NameOf(inode); to != kNoPath) {
    EmitLinks(entry, to, names);
  } else {
    std::vector<PathId>& wanted = tree->wanted[inode];
    wanted.insert(wanted.end(), names.begin(), names.end());
  }
  return true;
}

// A link whose target this layer does not have, or has as such a link itself.
bool Flattener::State::TakeLowerLink(const Step& parent, PathId id, PathId target, Kind target_kind, bool counts) {
  const uint16_t layer = tree->view.layer();
  uint32_t number = tree->index[target].content;
  if (target_kind != Kind::kLowerLink) {
    std::vector<uint32_t>& waiting = tree->waiting[target];
    if (waiting.empty() || tree->lower_links[waiting.back()].layer != layer) {
      waiting.push_back(static_cast<uint32_t>(tree->lower_links.size()));
      tree->lower_links.push_back({layer, {}});
    }
    number = waiting.back();
  }
  const bool fine = Put(parent, id, Kind::kLowerLink, number);
  if (!counts || !fine)
    return fine;
  const std::vector<PathId>& names = Claim(parent, id);
  std::vector<PathId>& all = tree->lower_links[number].names;
  all.insert(all.end(), names.begin(), names.end());
  return true;
}

// The names in the result of what is being put at `id`: its own, if no upper layer hides it, and those of hard links
// in upper layers that lead to it. Good until the next call.
const std::vector<PathId>& Flattener::State::Claim(const Step& parent, PathId id) {
  const uint16_t layer = tree->view.layer();
  std::vector<PathId>& names = claimed;
  names.clear();
  PathNode& node = tree->index[id];
  if (tree->view.Visible(parent, id) && node.result == Result::kNothing) {
    node.result = Result::kOther;
    names.push_back(id);
  }
  if (const auto waiting = tree->waiting.find(id); waiting != tree->waiting.end()) {
    std::erase_if(waiting->second, [&](uint32_t number) {
      const LowerLink& link = tree->lower_links[number];
      if (link.layer <= layer || HiddenBetween(id, layer, link.layer))
        return false;  // of this layer, or dangling
      names.insert(names.end(), link.names.begin(), link.names.end());
      return true;
    });
    if (waiting->second.empty())
      tree->waiting.erase(waiting);
  }
  node.covered_by = std::max(node.covered_by, layer);
  node.last_cover = layer;
  return names;
}

// A hard link of an upper layer cannot lead to a directory. But a later entry of this layer may still undo it, so the
// end of the layer tells.
void Flattener::State::NoteDirectory(PathId id, const Entry& entry) {
  const auto waiting = tree->waiting.find(id);
  if (waiting == tree->waiting.end() || !tree->link_to_directory.empty())
    return;
  const uint16_t layer = tree->view.layer();
  const std::vector<uint32_t>& links = waiting->second;
  if (std::any_of(links.begin(), links.end(), [&](uint32_t n) { return tree->lower_links[n].layer > layer; }))
    tree->link_to_directory = "makes " + Quoted(tree->index.Path(id)) + " a directory (entry " + Quoted(entry.name) +
                              "), to which a hard link in a layer above leads";
}

// Whether a layer above `low` and below `high` hides what `low` has at `id`.
bool Flattener::State::HiddenBetween(PathId id, uint16_t low, uint16_t high) const {
  const auto between = [&](uint16_t layer) { return layer > low && layer < high; };
  if (between(tree->index[id].last_cover))
    return true;
  while (id != kRootPath) {
    id = tree->index[id].parent;
    if (between(tree->index[id].last_cover) || between(tree->index[id].last_opaque))
      return true;
  }
  return false;
}

void Flattener::State::Emit(ArchiveReader& reader, const Entry& entry, std::span<const PathId> names) {
  if (names.empty())
    return;
  emitted = entry;
  emitted.name = tree->index.Path(names.front());
  sink->Add(emitted);
  ++result.entries;
  if (entry.type == EntryType::kFile)
    CopyContent(reader, entry);
  EmitLinks(entry, names.front(), names.subspan(1));
}

void Flattener::State::CopyContent(ArchiveReader& reader, const Entry& entry) {
  uint64_t done = 0;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
  while (reader.ReadPiece(offset, bytes)) {
    if (offset < done || offset > entry.size || bytes.size() > entry.size - offset)
      Fail(entry, "has content outside its size");
    if (offset > done)
      sink->WriteZeros(offset - done);
    sink->Write(bytes);
    done = offset + bytes.size();
  }
  if (done < entry.size)
    sink->WriteZeros(entry.size - done);
  result.bytes += entry.size;
}

void Flattener::State::EmitLinks(const Entry& like, PathId to, std::span<const PathId> names) {
  if (names.empty())
    return;
  Entry link;
  link.type = EntryType::kHardLink;
  link.mode = like.mode;
  link.uid = like.uid;
  link.gid = like.gid;
  link.mtime = like.mtime;
  link.link = tree->index.Path(to);
  for (const PathId name : names) {
    link.name = tree->index.Path(name);
    sink->Add(link);
    ++result.entries;
  }
}

void Flattener::State::AddDefaults() {
  PathIndex& index = tree->index;
  for (const Entry& entry : options.defaults) {
    std::vector<PathId> parents;
    PathId id = kRootPath;
    for (size_t at = 0; at < entry.name.size();) {
      const size_t end = std::min(entry.name.find('/', at), entry.name.size());
      parents.push_back(id);
      if (index[id].result == Result::kOther)
        throw Error(ErrorKind::kUnsupported,
                    Quoted("/" + index.Path(id)) + " in " + options.what + " is not a directory, but " +
                        Quoted("/" + entry.name) + " must be below it",
                    "build the image with a directory there");
      id = index.Child(id, std::string_view(entry.name).substr(at, end - at));
      at = end + 1;
    }
    if (index[id].result != Result::kNothing)
      continue;
    for (const PathId parent : parents) index[parent].result = Result::kDirectory;
    index[id].result = Result::kOther;
    sink->Add(entry);
    ++result.entries;
  }
}

Flattener::Flattener(size_t layer_count, OpenLayer open_layer, FlattenOptions options)
    : state_(std::make_unique<State>(layer_count, std::move(open_layer), std::move(options))) {}

Flattener::~Flattener() = default;

bool Flattener::Run(EntrySink& sink) { return state_->Run(sink); }

const FlattenResult& Flattener::result() const { return state_->result; }

}  // namespace gantry::image
