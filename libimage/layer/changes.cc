#include "libimage/layer/changes.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "libimage/base/error.h"
#include "libimage/base/workers.h"
#include "libimage/layer/attributes.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueName = ".wh..wh..opq";
constexpr size_t kBufferBytes = 128 * 1024;
constexpr size_t kMaxPairs = 64;  // that one job compares

// What an entry is but for its content, name and time.
bool SameAttributes(Entry a, const Entry& b) {
  a.name = b.name;
  a.mtime = b.mtime;
  if (a.type == EntryType::kSymlink)
    a.mode = b.mode;
  return a == b;
}

bool IsPlainRoot(const Entry& root) {
  return root.mode == 0755 && root.uid == 0 && root.gid == 0 && root.xattrs.empty();
}

std::pair<uint64_t, uint64_t> InodeOf(const struct stat& status) { return {status.st_dev, status.st_ino}; }

bool SharesInode(const struct stat& status) { return !S_ISDIR(status.st_mode) && status.st_nlink > 1; }

}  // namespace

Changes::Changes(const TreeStack& base, const Dir& tree, const ChangesOptions& options)
    : base_(base), tree_(tree), options_(options), comparing_(options.threads) {
  struct stat status {};
  if (fstat(tree_.fd(), &status) < 0)
    ThrowErrno("stat " + Quoted(tree_.name()));
  const auto root = base_.Root();
  const Entry now = ReadAttributes(tree_.fd(), ".", status, base_.whiteouts());
  Append({.what = What::kDirectory, .changed = root ? !SameAttributes(now, base_.Describe(*root)) : !IsPlainRoot(now)});
  Walk(0, root, options_.whole_tree);
  FinishContents();
  CompareLinks();
  MarkNeeded();
}

uint32_t Changes::Append(Item item) {
  if (items_.size() >= kMaxEntries)
    throw Error(ErrorKind::kUnsupported, Quoted(tree_.name()) + " holds more files than a layer can");
  items_.push_back(std::move(item));
  return static_cast<uint32_t>(items_.size() - 1);
}

std::string Changes::PathOf(uint32_t item) const {
  std::vector<uint32_t> way;
  for (; item != 0; item = items_[item].parent) way.push_back(item);
  std::string path;
  for (; !way.empty(); way.pop_back()) path.append(path.empty() ? "" : "/").append(items_[way.back()].name);
  return path;
}

UniqueFd Changes::OpenDirectory(const std::string& path) const {
  UniqueFd fd = path.empty() ? UniqueFd(openat(tree_.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
                             : tree_.OpenBeneath(RelPath::Parse(path), O_RDONLY | O_DIRECTORY);
  if (!fd)
    ThrowErrno("open " + Quoted(tree_.name()));
  return fd;
}

// `base` is what the layers below have there, if it is a directory. `complete`: what the tree lacks here is gone.
void Changes::Walk(uint32_t directory, const std::optional<TreeStack::Node>& base, bool complete) {
  std::vector<TreeStack::Node> files;
  std::vector<uint32_t> items;
  for (Child& child : Scan(directory, base, complete)) {
    const auto before = static_cast<uint32_t>(items_.size());
    Visit(directory, child, complete);
    if (!child.undecided())
      continue;
    files.push_back(*std::move(child.base));
    items.push_back(before);
    if (files.size() == kMaxPairs)
      CompareLater(base, std::exchange(files, {}), std::exchange(items, {}));
  }
  if (!files.empty())
    CompareLater(base, std::move(files), std::move(items));
}

// What is in a directory of the tree, after a note of what is gone from there. `complete` comes to hold for it and what
// is below.
std::vector<Changes::Child> Changes::Scan(uint32_t directory, const std::optional<TreeStack::Node>& base,
                                          bool& complete) {
  const std::string path = PathOf(directory);
  const Dir dir(OpenDirectory(path), path);
  complete = complete || (!options_.whole_tree && IsOpaque(dir.fd(), base_.whiteouts()));
  std::vector<Child> present;
  std::vector<std::string> gone;
  for (std::string& name : dir.List()) {
    const auto status = dir.Stat(RelPath::Parse(name));
    if (!status || S_ISSOCK(status->st_mode))
      continue;
    if (name.starts_with(kWhiteoutPrefix) || (options_.whole_tree && IsWhiteout(*status))) {
      throw Error(ErrorKind::kUnsupported, "a layer cannot hold " + Quoted(path + "/" + name),
                  "to appliers of layers such a thing means that another is gone; remove it");
    }
    if (IsWhiteout(*status))
      gone.push_back(std::move(name));
    else
      present.push_back({.name = std::move(name), .status = *status, .base = {}});
  }
  std::erase_if(gone, [&](const std::string& name) { return complete || !base || !base_.Find(*base, name); });
  bool all = false;
  if (complete && base) {
    const std::vector<TreeStack::Node> below = base_.List(*base);
    for (const TreeStack::Node& node : below) {
      const std::string_view name = SplitPath(node.path).second;
      if (!std::ranges::binary_search(present, name, {}, &Child::name))
        gone.emplace_back(name);
    }
    all = gone.size() > 1 && gone.size() == below.size();
  }
  NoteGone(directory, gone, all);
  return Compare(dir.fd(), std::move(present), base);
}

std::vector<Changes::Child> Changes::Compare(int dir, std::vector<Child> children,
                                             const std::optional<TreeStack::Node>& base) const {
  std::optional<TreeStack::OpenNode> below;
  if (base)
    below.emplace(base_, *base);
  for (Child& child : children) {
    if (below)
      child.base = below->Find(child.name);
    child.differs = !child.base || Differs(dir, child, *below);
  }
  return children;
}

// `all`: of everything that the layers below have in the directory nothing is left.
void Changes::NoteGone(uint32_t directory, const std::vector<std::string>& gone, bool all) {
  if (all) {
    Append({.name = std::string(kOpaqueName), .parent = directory, .what = What::kOpaque, .changed = true});
    return;
  }
  for (const std::string& name : gone) {
    Append(
        {.name = std::string(kWhiteoutPrefix) + name, .parent = directory, .what = What::kWhiteout, .changed = true});
  }
}

bool Changes::Child::undecided() const {
  return !differs && S_ISREG(status.st_mode) && status.st_size > 0 && InodeOf(status) != InodeOf(base->status);
}

void Changes::Visit(uint32_t directory, const Child& child, bool complete) {
  const bool is_directory = S_ISDIR(child.status.st_mode);
  const bool linked =
      SharesInode(child.status) || (options_.whole_tree && child.base && SharesInode(child.base->status));
  if (!is_directory && !child.differs && !child.undecided() && !linked)
    return;
  const uint32_t item = Append({.name = child.name,
                                .parent = directory,
                                .what = is_directory ? What::kDirectory : What::kEntry,
                                .changed = child.differs});
  if (linked) {
    const bool file_below = child.base && !child.base->is_directory();
    linked_.push_back(
        {item, InodeOf(child.status), file_below ? std::optional(InodeOf(child.base->status)) : std::nullopt});
  }
  if (is_directory)
    Walk(item, child.base && child.base->is_directory() ? child.base : std::nullopt, complete);
}

bool Changes::Differs(int dir, const Child& child, const TreeStack::OpenNode& below) const {
  const auto& now = child.status;
  const auto& was = child.base->status;
  if ((now.st_mode & S_IFMT) != (was.st_mode & S_IFMT) || now.st_uid != was.st_uid || now.st_gid != was.st_gid ||
      (S_ISREG(now.st_mode) && now.st_size != was.st_size))
    return true;
  return !SameAttributes(ReadAttributes(dir, child.name, now, base_.whiteouts()), below.Describe(*child.base));
}

void Changes::CompareLater(const std::optional<TreeStack::Node>& base, std::vector<TreeStack::Node> files,
                           std::vector<uint32_t> items) {
  std::vector<char> differ(files.size());
  pairs_.push_back({base.value(), std::move(files), std::move(items), std::move(differ)});
  comparing_.Add([this, &pairs = pairs_.back()] { CompareContents(pairs); });
}

// Sizes are known to be the same.
void Changes::CompareContents(Pairs& pairs) const {
  const UniqueFd dir = OpenDirectory(pairs.base.path);
  const TreeStack::OpenNode below(base_, pairs.base);
  std::vector<std::byte> a(kBufferBytes), b(kBufferBytes);
  for (size_t i = 0; i < pairs.files.size(); ++i) {
    const TreeStack::Node& file = pairs.files[i];
    const std::string name(SplitPath(file.path).second);
    const UniqueFd now(openat(dir.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!now)
      ThrowErrno("open " + Quoted(file.path) + " in " + Quoted(tree_.name()));
    const UniqueFd was = below.OpenFile(file);
    bool same = true;
    for (auto left = static_cast<uint64_t>(file.status.st_size); same && left > 0;) {
      const auto n = static_cast<size_t>(std::min<uint64_t>(left, kBufferBytes));
      const auto now_bytes = std::span(a).first(n), was_bytes = std::span(b).first(n);
      same = ReadFull(now.get(), now_bytes, Quoted(file.path)) == n &&
             ReadFull(was.get(), was_bytes, Quoted(file.path)) == n && std::memcmp(a.data(), b.data(), n) == 0;
      left -= n;
    }
    pairs.differ[i] = same ? 0 : 1;
  }
}

void Changes::FinishContents() {
  comparing_.Finish();
  for (const Pairs& pairs : pairs_) {
    for (size_t i = 0; i < pairs.items.size(); ++i) items_[pairs.items[i]].changed = pairs.differ[i] != 0;
  }
  pairs_.clear();
}

// All names of an inode go in, or none: a link needs its target in the same layer. They do when one of them changed,
// or when they are not the names of one inode below. Overlayfs parts names by copying one of them up, which nobody
// meant; in a whole tree, parted names are a change.
void Changes::CompareLinks() {
  std::map<Inode, std::vector<const Linked*>> groups;
  std::map<Inode, std::set<Inode>> heirs;  // of an inode below: what has its names now
  for (const Linked& name : linked_) {
    groups[name.now].push_back(&name);
    if (name.base)
      heirs[*name.base].insert(name.now);
  }
  for (const auto& [inode, names] : groups) {
    const auto changed = [&, first = names.front()](const Linked* name) {
      return items_[name->item].changed || !name->base || name->base != first->base ||
             (options_.whole_tree && heirs[*name->base].size() > 1);
    };
    if (std::ranges::any_of(names, changed)) {
      for (const Linked* name : names) items_[name->item].changed = true;
    }
  }
}

void Changes::MarkNeeded() {
  for (uint32_t item = static_cast<uint32_t>(items_.size()); item-- > 0;) {
    if (!items_[item].changed && !items_[item].needed)
      continue;
    empty_ = false;
    if (item != 0)
      items_[items_[item].parent].needed = true;
  }
}

// As it is now.
Entry Changes::Describe(const std::string& path) const {
  const auto [parent, name] = SplitPath(path);
  const UniqueFd dir = OpenDirectory(std::string(parent));
  const std::string last = path.empty() ? "." : std::string(name);
  struct stat status {};
  if (fstatat(dir.get(), last.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
    ThrowErrno("stat " + Quoted(path));
  Entry entry = ReadAttributes(dir.get(), last, status, base_.whiteouts());
  entry.name = path.empty() ? "./" : path;
  return entry;
}

ChangesResult Changes::Write(Sink& tar) const {
  ArchiveWriter archive(tar);
  ChangesResult result;
  std::map<uint32_t, Inode> inodes;
  for (const Linked& name : linked_) inodes.emplace(name.item, name.now);
  std::map<Inode, std::string> first_names;
  for (uint32_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    if (!item.changed && (!item.needed || i == 0))
      continue;
    ++result.entries;
    const std::string path = PathOf(i);
    if (item.what == What::kWhiteout || item.what == What::kOpaque) {
      ++result.whiteouts;
      archive.Add({.name = path, .type = EntryType::kFile, .mode = 0644});
      continue;
    }
    Entry entry = Describe(path);
    // A directory that is only passed has the time that it had: that something in it changed is no time that was meant.
    if (const auto was = item.changed ? std::nullopt : base_.Resolve(path, false))
      entry.mtime.seconds = was->status.st_mtim.tv_sec;
    entry.mtime = {std::min(entry.mtime.seconds, options_.epoch.value_or(INT64_MAX)), 0};
    const auto inode = inodes.find(i);
    const auto [first, is_first] =
        inode == inodes.end() ? std::pair(first_names.end(), true) : first_names.emplace(inode->second, path);
    if (!is_first) {
      entry.type = EntryType::kHardLink;
      entry.link = first->second;
      entry.xattrs.clear();
    }
    archive.Add(entry);
    if (entry.type == EntryType::kFile) {
      result.bytes += entry.size;
      WriteFile(archive, entry);
    }
  }
  archive.Finish();
  return result;
}

void Changes::WriteFile(ArchiveWriter& archive, const Entry& entry) const {
  const UniqueFd fd = tree_.OpenBeneath(RelPath::Parse(entry.name), O_RDONLY);
  std::vector<std::byte> buffer(std::min<uint64_t>(entry.size, kBufferBytes));
  for (uint64_t at = 0; at < entry.size;) {
    const off_t data = lseek(fd.get(), static_cast<off_t>(at), SEEK_DATA);
    const uint64_t next = data >= 0 ? static_cast<uint64_t>(data) : errno == ENXIO ? entry.size : at;
    archive.WriteZeros(std::min(next, entry.size) - at);
    at = std::min(next, entry.size);
    const off_t hole = at < entry.size ? lseek(fd.get(), static_cast<off_t>(at), SEEK_HOLE) : -1;
    const uint64_t end = hole > 0 ? std::min(static_cast<uint64_t>(hole), entry.size) : entry.size;
    while (at < end) {
      const auto piece = std::span(buffer).first(static_cast<size_t>(std::min<uint64_t>(end - at, buffer.size())));
      if (ReadFullAt(fd.get(), at, piece, Quoted(entry.name)) != piece.size())
        throw Error(ErrorKind::kFailed, Quoted(entry.name) + " became shorter while it was read",
                    "is something writing to the tree? try again");
      archive.Write(piece);
      at += piece.size();
    }
  }
}

}  // namespace gantry::image
