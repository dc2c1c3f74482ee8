#include "tests/libimage/layer/layer_stack.h"

#include <array>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "tests/support/tar_builder.h"

namespace gantry::testing {
namespace {

using Type = ModelEntry::Type;
using Records = std::vector<std::pair<std::string, std::string>>;
using std::string_literals::operator""s;

bool IsBelow(const std::string& path, const std::string& directory) {
  return directory.empty() ? !path.empty() : path.starts_with(directory + "/");
}

// A layer that is being made, above a tree that is finished.
class GrowingLayer {
 public:
  explicit GrowingLayer(const std::vector<ModelLayer>& below) : stack_(below), lower_(*ModelFlatten(below)) {
    stack_.emplace_back();
  }

  // Takes the entry, unless it makes the layer corrupt or meets a known difference; returns which.
  std::string Offer(const ModelEntry& entry) {
    stack_.back().push_back(entry);
    const bool sound = ModelFlatten(stack_).has_value();
    stack_.back().pop_back();
    if (!sound)
      return "corrupt";
    std::string difference = KnownDifference(entry);
    if (difference.empty()) {
      Remove(entry);
      stack_.back().push_back(entry);
    }
    return difference;
  }

  const ModelLayer& layer() const { return stack_.back(); }

 private:
  RenderedLayer Rendered() const {
    RenderedLayer rendered;
    for (const ModelEntry& entry : layer()) rendered.Apply(entry);
    return rendered;
  }

  // In umoci's tree at this moment, from a layer below.
  bool InLower(const std::string& path) const { return lower_.contains(path) && !gone_.contains(path); }
  bool IsLowerDirectory(const std::string& path) const {
    const auto at = lower_.find(path);
    return at != lower_.end() && at->second.starts_with("dir");
  }

  std::string KnownDifference(const ModelEntry& entry) const;
  std::string LinkDifference(const std::string& path, const std::string& target, const RenderedLayer& now) const;
  std::string WhiteoutDifference(const std::string& path, bool opaque, const RenderedLayer& now) const;
  void Remove(const ModelEntry& entry);

  std::vector<ModelLayer> stack_;
  FlatTree lower_;
  std::set<std::string> gone_;  // of lower_, in the order of umoci
};

// The reason to leave an entry out; empty when there is none.
std::string GrowingLayer::KnownDifference(const ModelEntry& entry) const {
  const RenderedLayer now = Rendered();
  std::vector<std::string> passed;
  const std::string path = Rendered().Resolve(entry.path, true, &passed);
  std::string target;
  if (entry.type == Type::kHardLink)
    target = Rendered().Resolve(entry.text, false, &passed);
  // overlayfs, and so Docker, hides what lower layers have there; umoci follows it, or fails when it is no link.
  for (const std::string& directory : passed) {
    if (!now.tree.contains(directory) && InLower(directory) && !IsLowerDirectory(directory))
      return "implies a directory over a lower link or file";
  }
  switch (entry.type) {
    case Type::kHardLink:
      return LinkDifference(path, target, now);
    case Type::kWhiteout:
    case Type::kOpaque:
      return WhiteoutDifference(path, entry.type == Type::kOpaque, now);
    case Type::kDirectory: {
      // Of the two entries the last counts, and a directory over a directory merges. umoci has removed what was below.
      const auto there = now.tree.find(path);
      const bool replaces = now.lower.contains(path) || (there != now.tree.end() && !there->second->starts_with("dir"));
      return replaces && IsLowerDirectory(path) ? "makes a directory of its own file over a lower directory" : "";
    }
    default:
      return "";
  }
}

std::string GrowingLayer::LinkDifference(const std::string& path, const std::string& target,
                                         const RenderedLayer& now) const {
  // umoci removes the name before it makes the link, and then has nothing to link to.
  if (path == target || IsBelow(target, path))
    return "is a hard link to what it replaces";
  // To us whiteouts have no order, and a link leads to what the layers below have.
  const bool here = now.tree.contains(target) || now.lower.contains(target);
  return !here && !InLower(target) ? "is a hard link to what this layer removed before" : "";
}

std::string GrowingLayer::WhiteoutDifference(const std::string& path, bool opaque, const RenderedLayer& now) const {
  // Every entry implies its parents, as in Docker; for umoci a whiteout does not.
  const std::string directory = ParentOf(path);
  if (!directory.empty() && !now.tree.contains(directory) && !InLower(directory))
    return "is a whiteout in a directory that is nowhere";
  // A whiteout hides lower layers wherever it stands, so also the attributes of a lower directory that this layer only
  // implies. umoci keeps them when the whiteout comes after what implied it.
  for (const auto& [at, inode] : now.tree) {
    if (*inode == "dir implied" && InLower(at) && (opaque ? IsBelow(at, directory) : at == path || IsBelow(at, path)))
      return "is a whiteout of a directory that the layer implied before";
  }
  return "";
}

// What of the layers below goes away with the entry.
void GrowingLayer::Remove(const ModelEntry& entry) {
  const RenderedLayer now = Rendered();
  const std::string path = Rendered().Resolve(entry.path, true);
  const bool whiteout = entry.type == Type::kWhiteout || entry.type == Type::kOpaque;
  for (const auto& [at, text] : lower_) {
    const bool hit = entry.type == Type::kOpaque ? IsBelow(at, ParentOf(path)) : at == path || IsBelow(at, path);
    const bool merges = entry.type == Type::kDirectory && IsLowerDirectory(path);
    if (hit && !merges && !(whiteout && now.tree.contains(at)))
      gone_.insert(at);
  }
}

// Where the letters of a model lead in the archive, one set for a whole stack.
std::map<std::string, std::string> RandomNames(std::mt19937& random, Tally& tally) {
  static const std::vector<std::string> kNames{"plain",
                                               "with space",
                                               "\xc3\xa9t\xc3\xa9",
                                               "latin1-\xe9\xff",
                                               "cut-\xe2\x82",
                                               "tab\tnewline\n",
                                               "-rf",
                                               "a=b",
                                               "back\\slash",
                                               std::string(120, 'n'),
                                               std::string(250, 'm') + "\xfe",
                                               "..dots",
                                               "wh.not"};
  std::map<std::string, std::string> out;
  for (const char* letter : {"a", "b", "c"}) {
    if (random() % 2 == 0)
      continue;
    const std::string& name = kNames[random() % kNames.size()];
    out[letter] = name + "." + letter;
    tally["names not UTF-8"] += name.find_first_of("\xe9\xe2\xfe") != std::string::npos ? 1 : 0;
    tally["long names"] += name.size() > 100 ? 1 : 0;
  }
  return out;
}

// Entries with all that they can carry, each value in one of the ways that tar has for it.
class LayerWriter {
 public:
  LayerWriter(std::mt19937& random, const std::map<std::string, std::string>& names, Tally& tally)
      : random_(random), names_(names), tally_(tally) {}

  std::string Write(const ModelLayer& layer) {
    if (Chance(3)) {
      Begin({.name = "./", .type = '5'});
      Attributes(true);
      End("");
      ++tally_["root directories"];
    }
    for (const ModelEntry& entry : layer) Add(entry);
    return tar_.Build();
  }

 private:
  bool Chance(unsigned in) { return random_() % in == 0; }
  template <typename T, size_t kSize>
  T Pick(const std::array<T, kSize>& from) {
    return from[random_() % kSize];
  }

  // `path` of the model as it stands in the archive; a whiteout is part of its last component.
  std::string Named(const std::string& path, const std::string& before_last = "") const {
    std::string out;
    for (size_t begin = 0; begin <= path.size();) {
      const size_t end = std::min(path.find('/', begin), path.size());
      const std::string part = path.substr(begin, end - begin);
      const auto name = names_.find(part);
      out += end == path.size() ? before_last : "";
      out += name == names_.end() ? part : name->second;
      out += end == path.size() ? "" : "/";
      begin = end + 1;
    }
    return out;
  }

  void Add(const ModelEntry& entry);
  void AddFile(const std::string& text);
  void AddSparse();
  void AddOther();
  void Begin(const TarBuilder::Header& header);
  void Attributes(bool user_xattrs);
  void SetName(std::string& field, const std::string& key);
  void SetId(uint32_t& field, const std::string& key);
  void SetTime();
  void End(const std::string& data);

  std::mt19937& random_;
  const std::map<std::string, std::string>& names_;
  Tally& tally_;
  TarBuilder tar_;
  TarBuilder::Header header_;
  Records pax_;
};

void LayerWriter::Begin(const TarBuilder::Header& header) {
  header_ = header;
  pax_.clear();
}

void LayerWriter::End(const std::string& data) {
  SetName(header_.name, "path");
  SetName(header_.link, "linkpath");
  if (!pax_.empty())
    tar_.Pax(pax_);
  tar_.Entry(header_, data);
}

// Into a pax record when it is too long for the header, and often when it is not ASCII.
void LayerWriter::SetName(std::string& field, const std::string& key) {
  const bool ascii = std::all_of(field.begin(), field.end(), [](char c) { return c >= 0; });
  if (field.size() < 100 && (ascii || Chance(2)))
    return;
  pax_.emplace_back(key, field);
  field = "see-pax";
}

void LayerWriter::SetId(uint32_t& field, const std::string& key) {
  constexpr std::array<uint32_t, 7> kIds{0, 1000, 65534, 2097151, 2097152, 3000000000, 4294967294};
  const uint32_t id = Pick(kIds);
  field = id <= 2097151 ? id : 0;
  if (id <= 2097151)
    return;
  pax_.emplace_back(key, std::to_string(id));
  ++tally_["ids beyond 2^21"];
}

void LayerWriter::SetTime() {
  constexpr std::array<const char*, 6> kTimes{"1234567890.123456789", "1234567890.5", "-1.5", "-86400",
                                              "5000000000.000000001", "0.75"};
  constexpr std::array<int64_t, 3> kSeconds{0, 1'000'000'000, 4'000'000'000};
  header_.mtime = Pick(kSeconds);
  if (!Chance(2))
    return;
  pax_.emplace_back("mtime", Pick(kTimes));
  ++tally_["sub-second or negative times"];
}

// Linux keeps attributes of users for files and directories only.
void LayerWriter::Attributes(bool user_xattrs) {
  constexpr std::array<uint32_t, 9> kModes{0, 0400, 0644, 0755, 0777, 01777, 02755, 04755, 06711};
  header_.mode = Pick(kModes);
  // What umoci makes because it is implied inherits its group from a parent with that bit.
  if (header_.type == '5')
    header_.mode &= ~02000U;
  SetId(header_.uid, "uid");
  SetId(header_.gid, "gid");
  SetTime();
  if (Chance(3))
    pax_.emplace_back("SCHILY.xattr.trusted.key", "t" + std::to_string(random_() % 3));
  if (user_xattrs && Chance(3)) {
    pax_.emplace_back("SCHILY.xattr.user.bytes", "\0\n=\xff"s);
    pax_.emplace_back("SCHILY.xattr.user.overlay.opaque", "y");
    ++tally_["xattrs of users"];
  }
  if (header_.type == '0' && Chance(4)) {
    // cap_net_bind_service, permitted and effective: struct vfs_cap_data of version 2.
    pax_.emplace_back("SCHILY.xattr.security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"s);
    ++tally_["capabilities"];
  }
}

void LayerWriter::AddFile(const std::string& text) {
  std::string data = "content " + text;
  if (Chance(8))
    data = std::string(random_() % 70'000, 'x') + text;
  header_.size = data.size();
  End(Chance(6) ? (header_.size = 0, "") : data);
}

// The formats 0.1, with the map in the header, and 1.0, with the map before the data.
void LayerWriter::AddSparse() {
  ++tally_["sparse files"];
  std::string data = "0123456789";
  pax_.emplace_back("GNU.sparse.name", header_.name);
  if (Chance(2)) {
    pax_.insert(pax_.end(), {{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "100000"}});
    std::string map = "2\n4096\n6\n90000\n4\n";
    map.resize(512, '\0');
    data = map + data;
  } else {
    pax_.insert(pax_.end(), {{"GNU.sparse.size", "100000"}, {"GNU.sparse.numblocks", "2"}});
    pax_.emplace_back("GNU.sparse.map", "4096,6,90000,4");
  }
  header_.name = "GNUSparseFile/see-pax";
  header_.size = data.size();
  tar_.Pax(pax_);
  tar_.Entry(header_, data);
}

// What is neither file, directory nor link behaves as a file does.
void LayerWriter::AddOther() {
  header_.type = Pick(std::array<char, 3>{'3', '4', '6'});
  if (header_.type != '6') {
    header_.major = 1 + static_cast<uint32_t>(random_() % 500);
    header_.minor = static_cast<uint32_t>(random_() % 100'000);
  }
  ++tally_[header_.type == '6' ? "fifos" : "devices"];
  Attributes(false);
  End("");
}

void LayerWriter::Add(const ModelEntry& entry) {
  const std::string parent = ParentOf(entry.path);
  switch (entry.type) {
    case Type::kFile:
      Begin({.name = Named(entry.path)});
      if (Chance(5))
        return AddOther();
      Attributes(true);
      return Chance(6) ? AddSparse() : AddFile(entry.text);
    case Type::kDirectory:
      Begin({.name = Named(entry.path) + "/", .type = '5'});
      Attributes(true);
      return End("");
    case Type::kSymlink:
      Begin({.name = Named(entry.path), .type = '2', .link = Named(entry.text)});
      Attributes(false);
      header_.mode = 0777;
      return End("");
    case Type::kHardLink:
      Begin({.name = Named(entry.path), .type = '1', .link = Named(entry.text)});
      return End("");
    case Type::kWhiteout:
      Begin({.name = Named(entry.path, ".wh.")});
      return End("");
    case Type::kOpaque:
      Begin({.name = (parent.empty() ? "" : Named(parent) + "/") + ".wh..wh..opq"});
      return End("");
  }
}

// What the model's entries do to one another.
void Count(const ModelLayer& layer, bool base, Tally& tally) {
  static constexpr std::array<const char*, 6> kTypes{"files",      "directories", "symbolic links",
                                                     "hard links", "whiteouts",   "opaque directories"};
  std::set<std::string> seen;
  RenderedLayer rendered;
  for (const ModelEntry& entry : layer) {
    ++tally[kTypes.at(static_cast<size_t>(entry.type))];
    const bool whiteout = entry.type == Type::kWhiteout || entry.type == Type::kOpaque;
    tally["late whiteouts"] += whiteout && !base && seen.contains(entry.path) ? 1 : 0;
    tally["late duplicates"] += !whiteout && !seen.insert(entry.path).second ? 1 : 0;
    rendered.Apply(entry);
  }
  tally["hard links into lower layers"] += static_cast<int>(rendered.lower.size());
}

}  // namespace

LayerStack RandomStack(std::mt19937& random, Tally& tally) {
  LayerStack stack;
  stack.names = RandomNames(random, tally);
  for (auto count = 1 + random() % 5; count > 0; --count) {
    GrowingLayer layer(stack.layers);
    for (int part = 0; part < 3; ++part) {
      for (const ModelEntry& entry : RandomLayer(random)) {
        const std::string why = layer.Offer(entry);
        if (!why.empty())
          ++tally["left out: " + why];
      }
    }
    Count(layer.layer(), stack.layers.empty(), tally);
    stack.layers.push_back(layer.layer());
    stack.tars.push_back(LayerWriter(random, stack.names, tally).Write(layer.layer()));
  }
  return stack;
}

}  // namespace gantry::testing
