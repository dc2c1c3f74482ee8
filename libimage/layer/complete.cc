#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <optional>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/attributes.h"
#include "libimage/layer/dir_walk.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/unpack.h"

namespace gantry::image {
namespace {

// A name in a directory of some layer.
struct Found {
  UniqueFd dir;
  std::string name;
  struct stat status {};
};

// What overlayfs would show at a path, were these its layers.
class LowerLayers {
 public:
  LowerLayers(const std::vector<const Dir*>& layers, UnpackOptions::Whiteouts whiteouts)
      : layers_(layers), whiteouts_(whiteouts) {}

  std::optional<Found> Find(const std::string& path) const {
    for (const Dir* layer : layers_) {
      bool hidden = false;
      std::optional<Found> found = FindIn(*layer, path, hidden);
      if (found || hidden)
        return found;
    }
    return std::nullopt;
  }

 private:
  // `hidden`: whatever the layers below have at the path does not count.
  std::optional<Found> FindIn(const Dir& layer, const std::string& path, bool& hidden) const {
    UniqueFd at(openat(layer.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (size_t begin = 0;;) {
      if (!at)
        ThrowErrno("open " + Quoted(path) + " in " + Quoted(layer.name()));
      hidden |= IsOpaque(at.get(), whiteouts_);
      const size_t slash = path.find('/', begin);
      const std::string name =
          path.empty() ? "." : path.substr(begin, slash == std::string::npos ? slash : slash - begin);
      Found found{.dir = std::move(at), .name = name};
      if (fstatat(found.dir.get(), name.c_str(), &found.status, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
          ThrowErrno("stat " + Quoted(path) + " in " + Quoted(layer.name()));
        return std::nullopt;
      }
      if (IsWhiteout(found.status) || (slash != std::string::npos && !S_ISDIR(found.status.st_mode))) {
        hidden = true;
        return std::nullopt;
      }
      if (slash == std::string::npos)
        return found;
      at = UniqueFd(openat(found.dir.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      begin = slash + 1;
    }
  }

  const std::vector<const Dir*>& layers_;
  UnpackOptions::Whiteouts whiteouts_;
};

// Puts the times of a directory back that changed because something was added to it.
class KeptTimes {
 public:
  explicit KeptTimes(int dir) : dir_(fcntl(dir, F_DUPFD_CLOEXEC, 0)) {
    if (!dir_ || fstat(dir_.get(), &status_) < 0)
      ThrowErrno("stat a directory");
  }
  KeptTimes(const KeptTimes&) = delete;
  KeptTimes& operator=(const KeptTimes&) = delete;
  ~KeptTimes() {
    const std::array<timespec, 2> times{status_.st_atim, status_.st_mtim};
    futimens(dir_.get(), times.data());
  }

 private:
  UniqueFd dir_;
  struct stat status_ {};
};

class Completer {
 public:
  Completer(const Dir& layer, const std::vector<const Dir*>& lowers, const UnpackOptions& options)
      : whiteouts_(options.whiteouts),
        lowers_(lowers, options.whiteouts),
        attributes_(options, ignored_),
        walk_(layer.fd(), [](const std::string&) {}) {}

  void Link(const Pending::Link& link);
  bool Imply(const std::string& path);
  void Unmark(const std::string& path);

 private:
  void Copy(const Found& from, int dir, const std::string& name);

  UnpackOptions::Whiteouts whiteouts_;
  LowerLayers lowers_;
  UnpackResult ignored_;
  AttributeWriter attributes_;
  DirWalk walk_;
  std::map<std::string, std::string> copies_;  // where the targets copied so far are
};

void Completer::Link(const Pending::Link& link) {
  const auto [parent, last] = SplitPath(link.path);
  const std::string name(last);
  const KeptTimes times(walk_.Enter(parent));
  const auto copy = copies_.find(link.target);
  if (copy != copies_.end()) {
    const auto [copy_parent, copy_name] = SplitPath(copy->second);
    const UniqueFd from(fcntl(walk_.Enter(copy_parent), F_DUPFD_CLOEXEC, 0));
    if (linkat(from.get(), std::string(copy_name).c_str(), walk_.Enter(parent), name.c_str(), 0) < 0)
      ThrowErrno("link " + Quoted(link.path));
  } else {
    const std::optional<Found> found = lowers_.Find(link.target);
    if (!found || S_ISDIR(found->status.st_mode)) {
      throw Error(ErrorKind::kCorrupt,
                  Quoted(link.path) + ": a hard link to " + Quoted(link.target) +
                      (found ? ", which is a directory" : ", which is nowhere"),
                  "whoever made the image must build it anew");
    }
    Copy(*found, walk_.Enter(parent), name);
    copies_.emplace(link.target, link.path);
  }
  copies_.emplace(link.path, link.path);
}

void Completer::Copy(const Found& from, int dir, const std::string& name) {
  const mode_t type = from.status.st_mode & S_IFMT;
  const Entry entry = ReadAttributes(from.dir.get(), from.name, from.status, whiteouts_);
  if (type == S_IFREG) {
    const UniqueFd in(openat(from.dir.get(), from.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    const UniqueFd out(openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!in || !out)
      ThrowErrno("copy " + Quoted(name));
    CopyRest(in.get(), out.get(), name);
    return attributes_.ToFd(out.get(), entry);
  }
  if (type == S_IFLNK) {
    if (symlinkat(entry.link.c_str(), dir, name.c_str()) < 0)
      ThrowErrno("copy link " + Quoted(name));
  } else if (mknodat(dir, name.c_str(), type | 0600, from.status.st_rdev) < 0) {
    ThrowErrno("copy device " + Quoted(name));
  }
  attributes_.ToName(dir, name, entry);
}

bool Completer::Imply(const std::string& path) {
  const std::optional<Found> found = lowers_.Find(path);
  if (!found || !S_ISDIR(found->status.st_mode))
    return false;
  const Entry entry = ReadAttributes(found->dir.get(), found->name, found->status, whiteouts_);
  attributes_.ToFd(walk_.Enter(path), entry);
  const bool default_attributes = entry.mode == 0755 && entry.uid == 0 && entry.gid == 0 && entry.xattrs.empty();
  return !default_attributes;
}

// Whiteouts mean nothing in a directory that hides nothing.
void Completer::Unmark(const std::string& path) {
  const std::optional<Found> found = lowers_.Find(path);
  if (found && S_ISDIR(found->status.st_mode))
    return;
  const int dir = walk_.Enter(path);
  const KeptTimes times(dir);
  for (const std::string& name : Dir(UniqueFd(fcntl(dir, F_DUPFD_CLOEXEC, 0)), path).List()) {
    struct stat status {};
    if (fstatat(dir, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
      ThrowErrno("stat " + Quoted(name));
    if (IsWhiteout(status) && unlinkat(dir, name.c_str(), 0) < 0)
      ThrowErrno("remove the mark " + Quoted(name));
  }
}

}  // namespace

bool CompleteLayer(const Dir& layer, const Pending& pending, const std::vector<const Dir*>& lowers,
                   const UnpackOptions& options, std::string_view what) {
  try {
    Completer completer(layer, lowers, options);
    for (const Pending::Link& link : pending.links) completer.Link(link);
    for (const std::string& path : pending.marked) completer.Unmark(path);
    bool from_below = !pending.links.empty() || !pending.marked.empty();
    // Children first: entering a directory may need a permission that its own attributes take away.
    for (auto path = pending.implied.rbegin(); path != pending.implied.rend(); ++path)
      from_below |= completer.Imply(*path);
    return from_below;
  } catch (const Error& error) {
    throw error.WithContext(what);
  }
}

}  // namespace gantry::image
