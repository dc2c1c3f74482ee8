#include "tests/libimage/layer/flatten_model.h"

#include <gtest/gtest.h>

#include <sstream>

#include "libimage/base/error.h"
#include "tests/support/tar_builder.h"

namespace gantry::testing {
namespace {

using Type = ModelEntry::Type;
using Inode = ModelInode;
using Corrupt = ModelCorrupt;

bool IsDirectory(const Inode& inode) { return inode->starts_with("dir"); }

std::vector<std::string> PartsOf(const std::string& path) {
  std::vector<std::string> parts;
  std::istringstream in(path);
  for (std::string part; std::getline(in, part, '/');) {
    if (!part.empty() && part != ".")
      parts.push_back(part);
  }
  return parts;
}

// Everything at `path` and below it, or only below.
void RemoveTree(std::map<std::string, Inode>& tree, const std::string& path, bool itself) {
  const std::string below = path.empty() ? "" : path + "/";
  std::erase_if(tree, [&](const auto& item) {
    return (item.first == path && itself) || (item.first != path && item.first.starts_with(below));
  });
}

}  // namespace

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string RenderedLayer::Walk(const std::string& directory, bool make, std::vector<std::string>* passed) {
  std::vector<std::string> todo = PartsOf(directory);
  std::reverse(todo.begin(), todo.end());
  std::string at;
  int hops = 0;
  while (!todo.empty()) {
    const std::string part = todo.back();
    todo.pop_back();
    if (part == "..") {
      at = ParentOf(at);
      continue;
    }
    const std::string next = at.empty() ? part : at + "/" + part;
    if (lower.contains(next))
      throw Corrupt();
    const auto there = tree.find(next);
    if (there == tree.end()) {
      if (make)
        tree[next] = std::make_shared<std::string>("dir implied");
    } else if (there->second->starts_with("link ")) {
      if (++hops > 40)
        throw Corrupt();
      const std::string target = there->second->substr(5);
      if (target.starts_with('/'))
        at.clear();
      std::vector<std::string> more = PartsOf(target);
      todo.insert(todo.end(), more.rbegin(), more.rend());
      continue;
    } else if (!IsDirectory(there->second)) {
      throw Corrupt();
    }
    at = next;
    if (passed != nullptr)
      passed->push_back(at);
  }
  return at;
}

std::string RenderedLayer::Resolve(const std::string& path, bool make, std::vector<std::string>* passed) {
  const std::string parent = Walk(ParentOf(path), make, passed);
  const std::string name = path.substr(path.rfind('/') + 1);
  return parent.empty() ? name : parent + "/" + name;
}

void RenderedLayer::Clear(const std::string& path) {
  RemoveTree(tree, path, true);
  std::erase_if(lower, [&](const auto& item) { return item.first == path || item.first.starts_with(path + "/"); });
}

void RenderedLayer::Apply(const ModelEntry& entry) {
  const std::string path = Resolve(entry.path, true);
  switch (entry.type) {
    case Type::kWhiteout:
      whiteouts.insert(path);
      return;
    case Type::kOpaque:
      opaque.insert(ParentOf(path));
      return;
    case Type::kDirectory:
      if (const auto there = tree.find(path); there != tree.end() && IsDirectory(there->second)) {
        *there->second = "dir " + entry.text;
        return;
      }
      Clear(path);
      tree[path] = std::make_shared<std::string>("dir " + entry.text);
      return;
    case Type::kFile:
    case Type::kSymlink:
      Clear(path);
      tree[path] = std::make_shared<std::string>((entry.type == Type::kFile ? "file " : "link ") + entry.text);
      return;
    case Type::kHardLink:
      Link(path, Resolve(entry.text, false));
      return;
  }
}

void RenderedLayer::Link(const std::string& path, const std::string& target) {
  if (const auto there = lower.find(target); there != lower.end()) {
    if (path == target)
      return;
    const std::string origin = there->second;
    Clear(path);
    lower[path] = origin;
    return;
  }
  const auto there = tree.find(target);
  if (there != tree.end() && IsDirectory(there->second))
    throw Corrupt();
  if (path == target) {
    if (there == tree.end())
      throw Corrupt();
    return;
  }
  if (there == tree.end()) {
    Clear(path);
    lower[path] = target;
    wanted.insert(target);
    return;
  }
  const Inode inode = there->second;
  Clear(path);
  tree[path] = inode;
}

namespace {

void Merge(std::map<std::string, Inode>& all, const RenderedLayer& upper) {
  std::map<std::string, Inode> linked;
  for (const std::string& target : upper.wanted) {
    const auto there = all.find(target);
    if (there == all.end() || IsDirectory(there->second))
      throw Corrupt();
  }
  for (const auto& [name, target] : upper.lower) linked[name] = all.at(target);
  for (const std::string& path : upper.whiteouts) RemoveTree(all, path, true);
  for (const std::string& path : upper.opaque) RemoveTree(all, path, false);
  std::map<std::string, Inode> over = upper.tree;
  over.insert(linked.begin(), linked.end());
  for (const auto& [path, inode] : over) {
    const auto there = all.find(path);
    if (there != all.end() && IsDirectory(there->second) && IsDirectory(inode)) {
      if (*inode != "dir implied")
        there->second = inode;
      continue;
    }
    RemoveTree(all, path, true);
    all[path] = inode;
  }
}

}  // namespace

std::optional<FlatTree> ModelFlatten(const std::vector<ModelLayer>& layers) {
  try {
    std::map<std::string, Inode> all{{"", std::make_shared<std::string>("dir implied")}};
    for (const ModelLayer& layer : layers) {
      RenderedLayer rendered;
      for (const ModelEntry& entry : layer) rendered.Apply(entry);
      Merge(all, rendered);
    }
    FlatTree out;
    std::map<Inode, std::string> first;
    for (const auto& [path, inode] : all) {
      const auto [known, is_new] = first.emplace(inode, path);
      out[path] = *inode == "dir implied" ? "dir 755" : is_new ? *inode : "= " + known->second;
    }
    return out;
  } catch (const Corrupt&) {
    return std::nullopt;
  }
}

void FlatTreeSink::CheckContent() {
  if (open_) {
    EXPECT_EQ(open_->size(), expected_) << order_.back();
  }
  open_.reset();
}

void FlatTreeSink::Add(const image::Entry& entry) {
  CheckContent();
  EXPECT_FALSE(inodes_.contains(entry.name)) << entry.name << " came twice";
  order_.push_back(entry.name);
  if (entry.type == image::EntryType::kHardLink) {
    EXPECT_TRUE(inodes_.contains(entry.link)) << entry.name << " links to " << entry.link << ", which did not come";
    inodes_[entry.name] = inodes_[entry.link];
    return;
  }
  std::ostringstream text;
  if (entry.type == image::EntryType::kDirectory) {
    text << "dir " << std::oct << entry.mode;
  } else {
    text << (entry.type == image::EntryType::kSymlink ? "link " + entry.link : "file ");
  }
  const auto inode = std::make_shared<std::string>(text.str());
  inodes_[entry.name] = inode;
  if (entry.type == image::EntryType::kFile) {
    open_ = inode;
    expected_ = inode->size() + entry.size;
  }
}

void FlatTreeSink::Write(std::span<const std::byte> bytes) { *open_ += AsText(bytes); }

void FlatTreeSink::WriteZeros(uint64_t count) { open_->append(count, '\0'); }

FlatTree FlatTreeSink::Tree() {
  CheckContent();
  FlatTree out;
  std::map<Inode, std::string> first;
  for (const auto& [path, inode] : inodes_) {
    const auto [known, is_new] = first.emplace(inode, path);
    out[path] = is_new ? *inode : "= " + known->second;
  }
  return out;
}

ModelLayer RandomLayer(std::mt19937& random) {
  const auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const auto path = [&] {
    std::string out(1, static_cast<char>('a' + pick(3)));
    for (unsigned depth = pick(3); depth > 0; --depth) out += std::string("/") + static_cast<char>('a' + pick(3));
    return out;
  };
  ModelLayer layer;
  for (unsigned count = pick(7); count > 0; --count) {
    ModelEntry entry{Type::kFile, path(), std::to_string(random() % 1000)};
    switch (pick(10)) {
      case 0:
      case 1:
      case 2:
        entry.type = Type::kDirectory;
        entry.text = pick(2) == 0 ? "700" : "711";
        break;
      case 3:
        entry.type = Type::kSymlink;
        entry.text = std::string(pick(3) == 0 ? "/" : pick(3) == 0 ? "../" : "") + path();
        break;
      case 4:
      case 5:
        entry.type = Type::kHardLink;
        entry.text = path();
        break;
      case 6:
        entry.type = Type::kWhiteout;
        break;
      case 7:
        entry.type = pick(2) == 0 ? Type::kOpaque : Type::kFile;
        break;
      default:
        break;
    }
    layer.push_back(entry);
  }
  return layer;
}

std::string TarOf(const ModelLayer& layer) {
  TarBuilder tar;
  for (const ModelEntry& entry : layer) {
    const std::string parent = ParentOf(entry.path);
    switch (entry.type) {
      case Type::kFile:
        tar.File(entry.path, entry.text);
        break;
      case Type::kDirectory:
        tar.Dir(entry.path, static_cast<uint32_t>(std::stoul(entry.text, nullptr, 8)));
        break;
      case Type::kSymlink:
        tar.Symlink(entry.path, entry.text);
        break;
      case Type::kHardLink:
        tar.HardLink(entry.path, entry.text);
        break;
      case Type::kWhiteout:
        tar.Whiteout(parent, entry.path.substr(entry.path.rfind('/') + 1));
        break;
      case Type::kOpaque:
        tar.Opaque(parent);
        break;
    }
  }
  return tar.Build();
}

std::string Describe(const std::vector<ModelLayer>& layers) {
  static constexpr const char* kTypes[] = {"file", "dir", "symlink", "hardlink", "whiteout", "opaque-beside"};
  std::ostringstream out;
  for (size_t i = 0; i < layers.size(); ++i) {
    out << "layer " << i + 1 << ":\n";
    for (const ModelEntry& entry : layers[i])
      out << "  " << kTypes[static_cast<int>(entry.type)] << " " << entry.path << " " << entry.text << "\n";
  }
  return out.str();
}

}  // namespace gantry::testing
