#include "libimage/layer/dir_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "libimage/base/error.h"
#include "libimage/layer/layer.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxOpenLevels = 32;  // several layers are unpacked at once, and 1024 descriptors are the usual limit
constexpr int kMaxLinks = 40;          // as the kernel

[[noreturn]] void Corrupt(const std::string& why) {
  throw Error(ErrorKind::kCorrupt, why, "no honest tool makes such a layer; do not use the image");
}

}  // namespace

int DirWalk::Enter(std::string_view path) {
  if (path == path_ && todo_.empty())
    return Top();
  links_ = 0;
  todo_.clear();
  const size_t common = CommonLevels(path);
  const size_t known = common == 0 ? 0 : std::min(path.size(), levels_[common - 1].end + 1);
  Queue(path.substr(known));
  PopTo(common);
  while (!todo_.empty()) {
    const std::string name = std::move(todo_.back());
    todo_.pop_back();
    Step(name);
  }
  return Top();
}

// How many levels that are open lead towards `path`. They are directories, so no link is skipped.
size_t DirWalk::CommonLevels(std::string_view path) const {
  size_t common = 0;
  for (const Level& level : levels_) {
    if (path.size() < level.end || path.compare(0, level.end, path_, 0, level.end) != 0 ||
        (path.size() > level.end && path[level.end] != '/'))
      break;
    ++common;
  }
  return common;
}

// Puts the components of `path` before what is to be done.
void DirWalk::Queue(std::string_view path) {
  for (size_t end = path.size(); end > 0;) {
    const size_t slash = path.rfind('/', end - 1);
    const size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    if (begin < end)
      todo_.emplace_back(path.substr(begin, end - begin));
    end = begin == 0 ? 0 : begin - 1;
  }
}

void DirWalk::PopTo(size_t count) {
  while (levels_.size() > count) levels_.pop_back();
  // Levels without a descriptor have to be walked to again.
  while (!levels_.empty() && !levels_.back().fd) {
    const size_t begin = levels_.size() > 1 ? levels_[levels_.size() - 2].end + 1 : 0;
    todo_.push_back(path_.substr(begin, levels_.back().end - begin));
    levels_.pop_back();
  }
  path_.resize(levels_.empty() ? 0 : levels_.back().end);
}

void DirWalk::Push(const std::string& name, UniqueFd fd) {
  if (levels_.size() >= kMaxPathDepth)
    Corrupt("more than " + std::to_string(kMaxPathDepth) + " directories deep");
  if (levels_.size() > kMaxOpenLevels)
    levels_.back().fd.Reset();
  if (!path_.empty())
    path_ += '/';
  path_ += name;
  levels_.push_back({path_.size(), std::move(fd)});
}

void DirWalk::Step(const std::string& name) {
  if (name == ".")
    return;
  if (name == "..") {
    if (!levels_.empty())
      PopTo(levels_.size() - 1);
    return;
  }
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(openat(Top(), name.c_str(), kFlags));
  if (fd)
    return Push(name, std::move(fd));
  if (errno == ENOTDIR || errno == ELOOP)
    return StepOver(name);
  if (errno == ENAMETOOLONG)
    Corrupt("a name is longer than 255 bytes");
  if (errno != ENOENT)
    ThrowErrno("open directory " + Quoted(name));
  if (mkdirat(Top(), name.c_str(), 0700) < 0)
    ThrowErrno("make directory " + Quoted(name));
  fd = UniqueFd(openat(Top(), name.c_str(), kFlags));
  if (!fd)
    ThrowErrno("open directory " + Quoted(name));
  Push(name, std::move(fd));
  made_(path_);
}

// `name` is there and is no directory.
void DirWalk::StepOver(const std::string& name) {
  struct stat status {};
  if (fstatat(Top(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
    ThrowErrno("stat " + Quoted(name));
  if (!S_ISLNK(status.st_mode))
    Corrupt(Quoted(name) + " is used as a directory and is none");
  if (++links_ > kMaxLinks)
    Corrupt("too many symbolic links on the way");
  std::array<char, PATH_MAX> target{};
  const ssize_t size = readlinkat(Top(), name.c_str(), target.data(), target.size());
  if (size < 0)
    ThrowErrno("read link " + Quoted(name));
  const std::string_view text(target.data(), static_cast<size_t>(size));
  Queue(text);
  if (text.starts_with('/'))
    PopTo(0);
}

}  // namespace gantry::image
