#include "libimage/build/upper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

constexpr std::pair<uint32_t, uint32_t> kRoot{0, 0};

std::vector<const Dir*> With(const Dir& upper, const std::vector<const Dir*>& base) {
  std::vector<const Dir*> all{&upper};
  all.insert(all.end(), base.begin(), base.end());
  return all;
}

[[noreturn]] void Meet(const std::string& path, bool directory) {
  throw Error(ErrorKind::kFailed,
              Quoted("/" + path) + (directory ? " is a directory in the image" : " is no directory in the image"),
              directory ? "a file cannot take its place; copy into it, or remove it first" : "choose another place");
}

}  // namespace

Upper::Upper(const std::vector<const Dir*>& base, const Dir& upper, const UnpackOptions& options)
    : base_(base, options.whiteouts),
      merged_(With(upper, base), options.whiteouts),
      upper_(upper),
      attributes_(options, ignored_) {
  if (const auto root = base_.Root())
    attributes_.ToFd(upper_.fd(), base_.Describe(*root));
  else
    attributes_.ToFd(upper_.fd(), {.type = EntryType::kDirectory, .mode = 0755});
}

std::string Upper::Resolve(std::string_view path) const {
  std::string resolved;
  merged_.Resolve(path, true, &resolved);
  return resolved;
}

bool Upper::IsDirectory(std::string_view path) const {
  const auto node = merged_.Resolve(path);
  return node && node->is_directory();
}

// The directory of that path in the upper one, with those above it: as they are below, else new.
UniqueFd Upper::Enter(std::string_view path, std::pair<uint32_t, uint32_t> owner) {
  UniqueFd at(openat(upper_.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (size_t end = 0; at && end < path.size(); ++end) {
    const size_t begin = end;
    end = std::min(path.find('/', begin), path.size());
    const std::string name(path.substr(begin, end - begin)), whole(path.substr(0, end));
    struct stat status {};
    const bool here = fstatat(at.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    const auto below = here ? std::nullopt : base_.Resolve(whole, false);
    if ((here && !S_ISDIR(status.st_mode)) || (below && !below->is_directory()))
      Meet(whole, false);
    if (!here && mkdirat(at.get(), name.c_str(), 0700) < 0)
      ThrowErrno("make the directory " + Quoted(whole));
    at = UniqueFd(openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!here && at) {
      Entry entry{.type = EntryType::kDirectory, .mode = 0755, .uid = owner.first, .gid = owner.second};
      if (below)
        entry = base_.Describe(*below);
      else
        entry.mtime.seconds = time(nullptr);
      attributes_.ToFd(at.get(), entry);
    }
  }
  if (!at)
    ThrowErrno("open " + Quoted(path));
  return at;
}

void Upper::MakeDirectories(const std::string& path, std::pair<uint32_t, uint32_t> owner) { Enter(path, owner); }

Entry Upper::AsCopied(const TreeStack& from, const TreeStack::Node& node, const CopyRules& rules) {
  Entry entry = from.Describe(node);
  newest_ = std::max(newest_, entry.mtime.seconds);
  if (rules.owner) {
    entry.uid = rules.owner->first;
    entry.gid = rules.owner->second;
  }
  if (rules.mode && entry.type != EntryType::kSymlink)
    entry.mode = *rules.mode;
  if (!rules.xattrs)
    entry.xattrs.clear();
  return entry;
}

void Upper::Copy(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const CopyRules& rules) {
  const bool left_out = rules.left_out && !node.path.empty() && rules.left_out(node.path);
  if (node.is_directory())
    return CopyDirectory(from, node, to, rules, left_out);
  if (!left_out && !S_ISSOCK(node.status.st_mode))
    CopyOther(from, node, to, rules);
}

void Upper::CopyDirectory(const TreeStack& from, const TreeStack::Node& node, const std::string& to,
                          const CopyRules& rules, bool left_out) {
  if (left_out && !rules.exceptions)
    return;
  // One that is left out is made for the first exception in it.
  if (!left_out)
    Enter(to, kRoot);
  for (const TreeStack::Node& child : from.List(node)) {
    std::string path = to;
    path.append(path.empty() ? "" : "/").append(SplitPath(child.path).second);
    Copy(from, child, path, rules);
  }
  // The root of the image is nothing that is copied. Attributes come last: filling a directory changes its time.
  if (!left_out && !to.empty())
    attributes_.ToFd(Enter(to, kRoot).get(), AsCopied(from, node, rules));
}

void Upper::CopyOther(const TreeStack& from, const TreeStack::Node& node, const std::string& to,
                      const CopyRules& rules) {
  const Entry entry = AsCopied(from, node, rules);
  const auto [parent, last] = SplitPath(to);
  const std::string name(last);
  if (const auto there = merged_.Resolve(to, false); there && there->is_directory())
    Meet(to, true);
  const UniqueFd dir = Enter(parent, kRoot);
  if (unlinkat(dir.get(), name.c_str(), 0) < 0 && errno != ENOENT)
    ThrowErrno("replace " + Quoted(to));
  const auto failed = [&] { ThrowErrno("copy to " + Quoted("/" + to)); };
  if (entry.type == EntryType::kFile) {
    if (node.status.st_nlink > 1) {
      const auto [first, is_new] = links_.emplace(std::pair(node.status.st_dev, node.status.st_ino), to);
      if (!is_new && linkat(upper_.fd(), first->second.c_str(), dir.get(), name.c_str(), 0) == 0)
        return;
    }
    const UniqueFd in = from.OpenFile(node);
    const UniqueFd out(openat(dir.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out)
      failed();
    CopyRest(in.get(), out.get(), to);
    return attributes_.ToFd(out.get(), entry);
  }
  const bool made = entry.type == EntryType::kSymlink
                        ? symlinkat(entry.link.c_str(), dir.get(), name.c_str()) == 0
                        : mknodat(dir.get(), name.c_str(), (node.status.st_mode & S_IFMT) | 0600,
                                  makedev(entry.device_major, entry.device_minor)) == 0;
  if (!made)
    failed();
  attributes_.ToName(dir.get(), name, entry);
}

void RemoveRunnersFiles(const std::vector<const Dir*>& base, const Dir& upper, const UnpackOptions& options) {
  const TreeStack below(base, options.whiteouts);
  for (const char* file : {"etc/hostname", "etc/hosts", "etc/resolv.conf"}) upper.RemoveFile(RelPath::Parse(file));
  for (const char* directory : {"etc", "dev", "proc", "sys"}) {
    if (!below.Resolve(directory, false) && unlinkat(upper.fd(), directory, AT_REMOVEDIR) < 0 && errno != ENOENT &&
        errno != ENOTEMPTY && errno != ENOTDIR)
      ThrowErrno("remove the mount point " + Quoted(directory));
  }
}

}  // namespace gantry::image
