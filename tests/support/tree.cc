#include "tests/support/tree.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <sstream>
#include <string_view>
#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::testing {
namespace {

using image::Entry;
using image::EntryType;

constexpr size_t kMaxFileBytes = 16 << 20;

// Everything of an entry but its names and time.
std::string Describe(const Entry& entry, const std::string& content) {
  std::ostringstream out;
  switch (entry.type) {
    case EntryType::kFile:
      out << "file of " << content.size() << " bytes, " << Digest::Of(content).hex().substr(0, 16);
      break;
    case EntryType::kSymlink:
      out << "link to " << Quoted(entry.link);
      break;
    case EntryType::kDirectory:
      out << "directory";
      break;
    case EntryType::kCharDevice:
    case EntryType::kBlockDevice:
      out << (entry.type == EntryType::kCharDevice ? "char device " : "block device ") << entry.device_major << ":"
          << entry.device_minor;
      break;
    default:
      out << "fifo";
  }
  // Linux gives links no mode of their own.
  if (entry.type != EntryType::kSymlink)
    out << ", mode " << std::oct << entry.mode << std::dec;
  out << ", owner " << entry.uid << ":" << entry.gid;
  for (const auto& [name, value] : entry.xattrs) out << ", " << name << "=" << Quoted(value);
  return out.str();
}

class Reader {
 public:
  explicit Reader(const std::string& root) : root_(root) { Visit(""); }
  Tree tree;

 private:
  void Visit(const std::string& path);
  void ReadXattrs(const std::string& full, Entry& entry);

  std::string root_;
  std::map<std::pair<dev_t, ino_t>, std::vector<std::string>> names_;

 public:
  // The names of each inode, once all are seen.
  void Group() {
    for (auto& [inode, names] : names_) {
      std::sort(names.begin(), names.end());
      for (const std::string& name : names) tree[name].first = names.front();
    }
  }
};

void Reader::ReadXattrs(const std::string& full, Entry& entry) {
  std::string names(65536, '\0'), value(65536, '\0');
  const ssize_t size = llistxattr(full.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(entry.xattrs.back().first.size()) + 1) {
    const char* name = names.data() + at;
    const ssize_t length = lgetxattr(full.c_str(), name, value.data(), value.size());
    entry.xattrs.emplace_back(name, length < 0 ? "(unreadable)" : value.substr(0, static_cast<size_t>(length)));
  }
  std::sort(entry.xattrs.begin(), entry.xattrs.end());
}

void Reader::Visit(const std::string& path) {
  const std::string full = path.empty() ? root_ : root_ + "/" + path;
  struct stat status {};
  ASSERT_EQ(lstat(full.c_str(), &status), 0) << full;
  Entry entry;
  entry.mode = status.st_mode & 07777;
  entry.uid = status.st_uid;
  entry.gid = status.st_gid;
  entry.device_major = major(status.st_rdev);
  entry.device_minor = minor(status.st_rdev);
  ReadXattrs(full, entry);
  std::string content;
  switch (status.st_mode & S_IFMT) {
    case S_IFREG:
      content = ReadFile(full, kMaxFileBytes);
      break;
    case S_IFLNK:
      entry.type = EntryType::kSymlink;
      entry.link.resize(4096);
      entry.link.resize(static_cast<size_t>(std::max<ssize_t>(0, readlink(full.c_str(), entry.link.data(), 4096))));
      break;
    case S_IFDIR:
      entry.type = EntryType::kDirectory;
      break;
    default:
      entry.type = S_ISCHR(status.st_mode)   ? EntryType::kCharDevice
                   : S_ISBLK(status.st_mode) ? EntryType::kBlockDevice
                                             : EntryType::kFifo;
  }
  const image::Time mtime{status.st_mtim.tv_sec, static_cast<uint32_t>(status.st_mtim.tv_nsec)};
  tree[path] = {Describe(entry, content), path, mtime};
  if (entry.type != EntryType::kDirectory) {
    names_[{status.st_dev, status.st_ino}].push_back(path);
    return;
  }
  DIR* const directory = opendir(full.c_str());
  ASSERT_NE(directory, nullptr) << full;
  while (const dirent* child = readdir(directory)) {
    const std::string name = child->d_name;
    if (name != "." && name != "..")
      Visit(path.empty() ? name : path + "/" + name);
  }
  closedir(directory);
}

}  // namespace

Tree TreeOf(const std::string& directory) {
  Reader reader(directory);
  reader.Group();
  return std::move(reader.tree);
}

Tree TreeOfArchive(const std::string& tar, const std::string& prefix) {
  image::ArchiveReader reader(StringSource(tar), "the archive");
  Tree tree;
  std::map<std::string, std::vector<std::string>> names;  // by the name that came first
  for (Entry entry; reader.Next(entry);) {
    while (entry.name.ends_with('/')) entry.name.pop_back();
    if (entry.name != prefix && !entry.name.starts_with(prefix + "/"))
      continue;
    const std::string path = entry.name == prefix ? "" : entry.name.substr(prefix.size() + 1);
    EXPECT_FALSE(tree.contains(path)) << Quoted(path) << " came twice";
    if (entry.type == EntryType::kHardLink) {
      const std::string target = entry.link.substr(std::min(entry.link.size(), prefix.size() + 1));
      EXPECT_TRUE(tree.contains(target)) << Quoted(path) << " links to " << Quoted(target) << ", which did not come";
      tree[path] = tree[target];
      names[tree[target].first].push_back(path);
      continue;
    }
    std::string content;
    uint64_t offset = 0;
    std::span<const std::byte> bytes;
    while (reader.ReadPiece(offset, bytes)) {
      content.resize(offset);
      content += AsText(bytes);
    }
    content.resize(entry.size);
    tree[path] = {Describe(entry, content), path, entry.mtime};
    names[path] = {path};
  }
  for (auto& [first, all] : names) {
    const std::string smallest = *std::min_element(all.begin(), all.end());
    for (const std::string& name : all) tree[name].first = smallest;
  }
  return tree;
}

std::string Compare(const Tree& left, const Tree& right, const TreeComparison& how) {
  std::ostringstream out;
  for (const auto& [path, entry] : left) {
    const auto other = right.find(path);
    if (other == right.end()) {
      out << Quoted(path) << ": only " << how.left << " has it: " << entry.what << "\n";
      continue;
    }
    if (entry.what != other->second.what)
      out << Quoted(path) << ":\n  " << how.left << ": " << entry.what << "\n  " << how.right << ": "
          << other->second.what << "\n";
    const bool same_inode =
        entry.first == other->second.first || (how.split_links && left.at(other->second.first).first == entry.first);
    if (!same_inode)
      out << Quoted(path) << ": an inode with " << Quoted(entry.first) << " in " << how.left << ", with "
          << Quoted(other->second.first) << " in " << how.right << "\n";
    const bool no_time = entry.what.starts_with("directory") && entry.mtime.seconds >= how.made_at &&
                         entry.mtime.seconds <= std::time(nullptr);
    if (!no_time && entry.mtime != other->second.mtime)
      out << Quoted(path) << ": time " << entry.mtime.seconds << "." << entry.mtime.nanoseconds << " in " << how.left
          << ", " << other->second.mtime.seconds << "." << other->second.mtime.nanoseconds << " in " << how.right
          << "\n";
  }
  for (const auto& [path, entry] : right) {
    if (!left.contains(path))
      out << Quoted(path) << ": only " << how.right << " has it: " << entry.what << "\n";
  }
  return out.str();
}

}  // namespace gantry::testing
