#include "libimage/build/upper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
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

void TrustMarksOf(int fd, const std::string& name) {
  char value = 0;
  const bool opaque = fgetxattr(fd, "user.overlay.opaque", &value, 1) == 1 && value == 'y';
  if (opaque && fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
    ThrowErrno("mark " + Quoted(name));
  for (const char* mark : {"opaque", "origin", "impure", "uuid", "nlink", "upper"})
    fremovexattr(fd, (std::string("user.overlay.") + mark).c_str());
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

Upper::There Upper::Look(const Place& place, const std::string& name) const {
  struct stat status {};
  if (fstatat(place.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
    return {true, S_ISDIR(status.st_mode), true};
  const auto below = place.children ? place.children->Find(name) : std::nullopt;
  return {false, below && below->is_directory(), below.has_value()};
}

void Upper::Remove(const std::string& path) {
  upper_.RemoveTree(RelPath::Parse(path));
  std::erase_if(links_, [&](const auto& link) {
    return link.second.starts_with(path) && (link.second.size() == path.size() || link.second[path.size()] == '/');
  });
}

// The directory `name`, which is made as it is below, else new.
Upper::Place Upper::Descend(const Place& from, const std::string& name, const CopyRules& rules) {
  Place to{from.path + (from.path.empty() ? "" : "/") + name, {}, std::nullopt};
  There there = Look(from, name);
  auto below = from.children ? from.children->Find(name) : std::nullopt;
  if (below && !below->is_directory())
    below.reset();
  if (there.anything && !there.directory) {
    // What hides a directory of the layers below would have to go on doing so.
    if (!rules.replaces || below)
      Meet(to.path, false);
    if (there.here)
      Remove(to.path);
    there.here = false;
  }
  if (!there.here && mkdirat(from.fd.get(), name.c_str(), 0700) < 0)
    ThrowErrno("make the directory " + Quoted(to.path));
  to.fd = UniqueFd(openat(from.fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!to.fd)
    ThrowErrno("open " + Quoted(to.path));
  if (!there.here) {
    const Owner owner = rules.owner.value_or(kRoot);
    Entry entry{.type = EntryType::kDirectory, .mode = 0755, .uid = owner.first, .gid = owner.second};
    if (below)
      entry = base_.Describe(*below);
    else
      entry.mtime.seconds = time(nullptr);
    attributes_.ToFd(to.fd.get(), entry);
  }
  to.below = std::move(below);
  return to;
}

// The directory of that path in the upper one, with those above it; valid until the next call.
const Upper::Place& Upper::Enter(std::string_view path, const CopyRules& rules) {
  const bool inside =
      entered_ && path.starts_with(entered_->path) &&
      (entered_->path.empty() || path.size() == entered_->path.size() || path[entered_->path.size()] == '/');
  if (!inside) {
    entered_ = std::make_unique<Place>(
        Place{"", UniqueFd(openat(upper_.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), base_.Root()});
    if (!entered_->fd)
      ThrowErrno("open " + Quoted(upper_.name()));
    if (entered_->below)
      entered_->children.emplace(base_, *entered_->below);
  }
  for (size_t end = entered_->path.size(); end < path.size();) {
    const size_t begin = end + (entered_->path.empty() ? 0 : 1);
    end = std::min(path.find('/', begin), path.size());
    entered_ = std::make_unique<Place>(Descend(*entered_, std::string(path.substr(begin, end - begin)), rules));
    if (entered_->below)
      entered_->children.emplace(base_, *entered_->below);
  }
  return *entered_;
}

void Upper::MakeDirectories(const std::string& path, std::pair<uint32_t, uint32_t> owner) {
  Enter(path, {.owner = owner});
}

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
  CopyNode(from, node, to, rules, true);
}

void Upper::CopyNode(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const CopyRules& rules,
                     bool top) {
  if (node.is_directory())
    return CopyDirectory(from, node, to, rules, top);
  const bool left_out = rules.left_out && rules.left_out(node.path);
  if (!left_out && !S_ISSOCK(node.status.st_mode))
    CopyOther(from, node, to, rules);
}

void Upper::CopyDirectory(const TreeStack& from, const TreeStack::Node& node, const std::string& to,
                          const CopyRules& rules, bool top) {
  const bool left_out = rules.left_out && !node.path.empty() && rules.left_out(node.path);
  if (left_out && !rules.exceptions)
    return;
  const bool may_keep = rules.implied.contains(node.path) || (top && !rules.replaces);
  const bool kept = to.empty() || (may_keep && merged_.Resolve(to, false));
  // One that is left out is made for the first exception in it.
  if (!left_out)
    Enter(to, rules);
  for (const TreeStack::Node& child : from.List(node)) {
    std::string path = to;
    path.append(path.empty() ? "" : "/").append(SplitPath(child.path).second);
    CopyNode(from, child, path, rules, false);
  }
  // Attributes come last: filling a directory changes its time.
  const std::optional<Entry> entry = left_out ? std::nullopt : std::optional(AsCopied(from, node, rules));
  if (entry && !kept)
    attributes_.ToFd(Enter(to, rules).fd.get(), *entry);
}

void Upper::CopyOther(const TreeStack& from, const TreeStack::Node& node, const std::string& to,
                      const CopyRules& rules) {
  const Entry entry = AsCopied(from, node, rules);
  const auto [parent, last] = SplitPath(to);
  const std::string name(last);
  const Place& place = Enter(parent, rules);
  const There there = Look(place, name);
  if (there.directory && !rules.replaces)
    Meet(to, true);
  if (there.here)
    Remove(to);
  if (entry.type == EntryType::kFile)
    return MakeFile(from, node, to, entry);
  const bool made = entry.type == EntryType::kSymlink
                        ? symlinkat(entry.link.c_str(), place.fd.get(), name.c_str()) == 0
                        : mknodat(place.fd.get(), name.c_str(), (node.status.st_mode & S_IFMT) | 0600,
                                  makedev(entry.device_major, entry.device_minor)) == 0;
  if (!made)
    ThrowErrno("copy to " + Quoted("/" + to));
  attributes_.ToName(place.fd.get(), name, entry);
}

// In the directory that was entered.
void Upper::MakeFile(const TreeStack& from, const TreeStack::Node& node, const std::string& to, const Entry& entry) {
  const int dir = entered_->fd.get();
  const std::string name(SplitPath(to).second);
  if (node.status.st_nlink > 1) {
    const auto [first, is_new] = links_.emplace(std::pair(node.status.st_dev, node.status.st_ino), to);
    if (!is_new && linkat(upper_.fd(), first->second.c_str(), dir, name.c_str(), 0) == 0)
      return;
  }
  const UniqueFd in = from.OpenFile(node);
  const UniqueFd out(openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out)
    ThrowErrno("copy to " + Quoted("/" + to));
  CopyRest(in.get(), out.get(), to);
  attributes_.ToFd(out.get(), entry);
}

void TrustUserMarks(const Dir& upper) {
  TrustMarksOf(upper.fd(), upper.name());
  for (const std::string& name : upper.List()) {
    struct stat status {};
    if (fstatat(upper.fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
      ThrowErrno("stat " + Quoted(name));
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode))
      continue;  // has no attributes of users
    UniqueFd fd(openat(upper.fd(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd)
      ThrowErrno("open " + Quoted(name));
    if (S_ISDIR(status.st_mode))
      TrustUserMarks(Dir(std::move(fd), name));
    else
      TrustMarksOf(fd.get(), name);
  }
}

void RemoveRunnersFiles(const std::vector<const Dir*>& base, const Dir& upper, const UnpackOptions& options) {
  const TreeStack below(base, options.whiteouts);
  // A command may have put something else in the place of the directory.
  const RelPath etc = RelPath::Parse("etc");
  if (const auto status = upper.Stat(etc); status && S_ISDIR(status->st_mode)) {
    const Dir files = upper.OpenDir(etc);
    for (const char* file : {"hostname", "hosts", "resolv.conf"}) files.RemoveFile(RelPath::Parse(file));
  }
  for (const char* directory : {"etc", "dev", "proc", "sys"}) {
    if (!below.Resolve(directory, false) && unlinkat(upper.fd(), directory, AT_REMOVEDIR) < 0 && errno != ENOENT &&
        errno != ENOTEMPTY && errno != ENOTDIR)
      ThrowErrno("remove the mount point " + Quoted(directory));
  }
}

}  // namespace gantry::image
