#include "libimage/base/dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "libimage/base/error.h"

namespace gantry {
namespace {

constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxPathBytes = 4095;
constexpr int kMaxTreeDepth = 4096;

struct DirCloser {
  void operator()(DIR* dir) const { closedir(dir); }
};

// -1 and errno on failure. EAGAIN means that a rename raced with RESOLVE_BENEATH or RESOLVE_IN_ROOT: try again.
int OpenAt2(int dir, const char* path, int flags, mode_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0;
  how.resolve = resolve;
  while (true) {
    const long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0)
      return static_cast<int>(fd);
    if (errno != EINTR && errno != EAGAIN)
      return -1;
  }
}

constexpr uint64_t kBeneath = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr uint64_t kInRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

[[noreturn]] void ThrowOpen(const std::string& dir, std::string_view path) {
  const int error = errno;
  if (error == ENOSYS) {
    throw Error(ErrorKind::kUnsupported, "this kernel has no openat2", "use Linux 5.6 or newer, outside old sandboxes");
  }
  ThrowErrno("open " + Quoted(path) + " in " + Quoted(dir), error);
}

std::vector<std::string> ListFd(int dir_fd, const std::string& name) {
  const int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0)
    ThrowErrno("open " + Quoted(name));
  const std::unique_ptr<DIR, DirCloser> stream(fdopendir(copy));
  if (!stream)
    ThrowErrno("list " + Quoted(name));
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view found = entry->d_name;
    if (found != "." && found != "..")
      names.emplace_back(found);
    errno = 0;
  }
  if (errno != 0)
    ThrowErrno("list " + Quoted(name));
  std::sort(names.begin(), names.end());
  return names;
}

// Removes all below `dir_fd`, which is on `device`.
void Empty(int dir_fd, dev_t device, const std::string& name, int depth) {
  if (depth > kMaxTreeDepth)
    throw Error(ErrorKind::kFailed, Quoted(name) + " is nested too deeply to remove");
  for (const std::string& child : ListFd(dir_fd, name)) {
    if (unlinkat(dir_fd, child.c_str(), 0) == 0 || errno == ENOENT)
      continue;
    if (errno != EISDIR && errno != EPERM)
      ThrowErrno("remove " + Quoted(child) + " in " + Quoted(name));
    int fd = openat(dir_fd, child.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fchmodat(dir_fd, child.c_str(), 0700, 0) == 0) {
      fd = openat(dir_fd, child.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    const UniqueFd sub(fd);
    if (!sub)
      ThrowErrno("open " + Quoted(child) + " in " + Quoted(name));
    struct stat status {};
    if (fstat(sub.get(), &status) < 0)
      ThrowErrno("stat " + Quoted(child));
    if (status.st_dev != device)
      throw Error(ErrorKind::kFailed, "a file system is mounted on " + Quoted(child));
    if (faccessat(sub.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
      fchmod(sub.get(), 0700);
    Empty(sub.get(), device, child, depth + 1);
    if (unlinkat(dir_fd, child.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT)
      ThrowErrno("remove " + Quoted(child));
  }
}

// A name that no other process and no other thread of this one chooses.
std::string HiddenName() {
  static std::atomic<uint64_t> counter{0};
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return ".gantry-" + std::to_string(getpid()) + "-" + std::to_string(now.tv_nsec) + "-" +
         std::to_string(counter.fetch_add(1)) + ".tmp";
}

}  // namespace

RelPath RelPath::Parse(std::string_view text) {
  const auto reject = [&](std::string_view why) {
    throw Error(ErrorKind::kCorrupt, "bad path " + Quoted(text) + ": " + std::string(why));
  };
  if (text.empty())
    reject("empty");
  if (text.size() > kMaxPathBytes)
    reject("longer than 4095 bytes");
  if (text.find('\0') != std::string_view::npos)
    reject("NUL byte");
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    const std::string_view name = text.substr(begin, end - begin);
    if (name.empty())
      reject("empty component");
    if (name == "." || name == "..")
      reject("'.' or '..' component");
    if (name.size() > kMaxNameBytes)
      reject("component longer than 255 bytes");
    begin = end + 1;
  }
  return RelPath(std::string(text));
}

std::optional<RelPath> RelPath::Parent() const {
  const size_t slash = text_.rfind('/');
  if (slash == std::string::npos)
    return std::nullopt;
  return RelPath(text_.substr(0, slash));
}

std::string_view RelPath::Name() const {
  const size_t slash = text_.rfind('/');
  return slash == std::string::npos ? std::string_view(text_) : std::string_view(text_).substr(slash + 1);
}

RelPath operator/(const RelPath& base, const RelPath& rest) { return RelPath::Parse(base.text_ + "/" + rest.text_); }

Dir Dir::Open(const std::string& path) { return Dir(OpenFile(path, O_RDONLY | O_DIRECTORY), path); }

Dir Dir::Create(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (mkdir(parent.c_str(), mode) < 0 && errno != EEXIST)
      ThrowErrno("create " + Quoted(parent));
  }
  if (mkdir(path.c_str(), mode) < 0 && errno != EEXIST)
    ThrowErrno("create " + Quoted(path));
  return Open(path);
}

Dir::Dir(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

UniqueFd Dir::OpenBeneath(const RelPath& path, int flags, mode_t mode) const {
  const int fd = OpenAt2(fd_.get(), path.c_str(), flags, mode, kBeneath);
  if (fd < 0)
    ThrowOpen(name_, path.str());
  return UniqueFd(fd);
}

Dir Dir::OpenDir(const RelPath& path) const {
  return Dir(OpenBeneath(path, O_RDONLY | O_DIRECTORY), name_ + "/" + path.str());
}

std::optional<UniqueFd> Dir::TryOpenBeneath(const RelPath& path, int flags) const {
  const int fd = OpenAt2(fd_.get(), path.c_str(), flags, 0, kBeneath);
  if (fd >= 0)
    return UniqueFd(fd);
  if (errno == ENOENT || errno == ENOTDIR)
    return std::nullopt;
  ThrowOpen(name_, path.str());
}

UniqueFd Dir::OpenInRoot(std::string_view path, int flags, mode_t mode) const {
  const int fd = OpenAt2(fd_.get(), std::string(path).c_str(), flags, mode, kInRoot);
  if (fd < 0)
    ThrowOpen(name_, path);
  return UniqueFd(fd);
}

std::optional<UniqueFd> Dir::TryOpenInRoot(std::string_view path, int flags) const {
  const int fd = OpenAt2(fd_.get(), std::string(path).c_str(), flags, 0, kInRoot);
  if (fd >= 0)
    return UniqueFd(fd);
  if (errno == ENOENT || errno == ENOTDIR)
    return std::nullopt;
  ThrowOpen(name_, path);
}

Dir Dir::MakeDirs(const RelPath& path, mode_t mode) const {
  Dir at(UniqueFd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0)), name_);
  const std::string& text = path.str();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    const RelPath name = RelPath::Parse(std::string_view(text).substr(begin, end - begin));
    // Mostly it is there, and to find that out by making it costs more.
    std::optional<UniqueFd> found = at.TryOpenBeneath(name, O_RDONLY | O_DIRECTORY);
    if (!found && mkdirat(at.fd(), name.c_str(), mode) < 0 && errno != EEXIST)
      ThrowErrno("create " + Quoted(name.str()) + " in " + Quoted(at.name()));
    at = found ? Dir(*std::move(found), at.name() + "/" + name.str()) : at.OpenDir(name);
    begin = end + 1;
  }
  return at;
}

std::vector<std::string> Dir::List() const { return ListFd(fd_.get(), name_); }

bool Dir::Exists(const RelPath& path) const { return Stat(path).has_value(); }

std::optional<struct stat> Dir::Stat(const RelPath& path) const {
  struct stat status {};
  int failed = 0;
  if (path.Parent()) {
    const std::optional<UniqueFd> fd = TryOpenBeneath(path, O_PATH | O_NOFOLLOW);
    if (!fd)
      return std::nullopt;
    failed = fstat(fd->get(), &status);
  } else {
    // On the way to a name in the directory itself there is nothing to be led astray by.
    failed = fstatat(fd_.get(), path.c_str(), &status, AT_SYMLINK_NOFOLLOW);
    if (failed < 0 && errno == ENOENT)
      return std::nullopt;
  }
  if (failed < 0)
    ThrowErrno("stat " + Quoted(path.str()));
  return status;
}

void Dir::Rename(const RelPath& from, const RelPath& to) const {
  if (renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) < 0) {
    ThrowErrno("rename " + Quoted(from.str()) + " to " + Quoted(to.str()) + " in " + Quoted(name_));
  }
}

void Dir::RemoveFile(const RelPath& path) const {
  const std::optional<RelPath> parent = path.Parent();
  const std::optional<UniqueFd> holder =
      parent ? TryOpenBeneath(*parent, O_PATH | O_DIRECTORY) : std::optional<UniqueFd>();
  if (parent && !holder)
    return;
  const std::string name(path.Name());
  if (unlinkat(holder ? holder->get() : fd_.get(), name.c_str(), 0) < 0 && errno != ENOENT) {
    ThrowErrno("remove " + Quoted(path.str()) + " in " + Quoted(name_));
  }
}

void Dir::RemoveTree(const RelPath& path) const {
  const std::optional<RelPath> parent = path.Parent();
  const UniqueFd holder =
      parent ? OpenBeneath(*parent, O_RDONLY | O_DIRECTORY) : UniqueFd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  const std::string name(path.Name());
  if (unlinkat(holder.get(), name.c_str(), 0) == 0 || errno == ENOENT)
    return;
  if (errno != EISDIR && errno != EPERM)
    ThrowErrno("remove " + Quoted(path.str()) + " in " + Quoted(name_));
  struct stat status {};
  if (fstatat(holder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
    ThrowErrno("stat " + Quoted(path.str()));
  if (fchmodat(holder.get(), name.c_str(), 0700, 0) < 0 && errno != EPERM)
    ThrowErrno("change the mode of " + Quoted(path.str()));
  const UniqueFd dir(openat(holder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir)
    ThrowErrno("open " + Quoted(path.str()) + " in " + Quoted(name_));
  Empty(dir.get(), status.st_dev, name, 0);
  if (unlinkat(holder.get(), name.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT) {
    ThrowErrno("remove " + Quoted(path.str()) + " in " + Quoted(name_));
  }
}

std::string Dir::ReadFile(const RelPath& path, size_t max_bytes) const {
  const UniqueFd fd = OpenBeneath(path, O_RDONLY | O_NONBLOCK);
  return ReadAll(fd.get(), max_bytes, Quoted(path.str()) + " in " + Quoted(name_));
}

void Dir::WriteFileAtomically(const RelPath& path, std::string_view bytes, mode_t mode) const {
  StagedFile file(*this, mode);
  WriteFull(file.fd(), AsBytes(bytes), Quoted(path.str()) + " in " + Quoted(name_));
  file.Commit(path);
}

void Dir::Sync() const {
  if (fsync(fd_.get()) < 0)
    ThrowErrno("sync " + Quoted(name_));
}

std::string RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> found(realpath(path.c_str(), nullptr), &std::free);
  if (!found)
    ThrowErrno("resolve " + Quoted(path));
  return found.get();
}

StagedFile::StagedFile(const Dir& dir, mode_t mode) : dir_(dir) {
  int fd = openat(dir.fd(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    hidden_name_ = HiddenName();
    fd = openat(dir.fd(), hidden_name_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);
  }
  if (fd < 0)
    ThrowErrno("create a file in " + Quoted(dir.name()));
  fd_ = UniqueFd(fd);
}

StagedFile::~StagedFile() {
  if (!hidden_name_.empty())
    unlinkat(dir_.fd(), hidden_name_.c_str(), 0);
}

void StagedFile::Commit(const RelPath& as, bool durable) {
  if (durable && fsync(fd_.get()) < 0)
    ThrowErrno("sync " + Quoted(as.str()) + " in " + Quoted(dir_.name()));
  if (hidden_name_.empty()) {
    // linkat never replaces, so the file gets a hidden name first; a crash in between leaves only that.
    const std::string self = "/proc/self/fd/" + std::to_string(fd_.get());
    if (linkat(AT_FDCWD, self.c_str(), dir_.fd(), as.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      if (durable)
        dir_.Sync();
      return;
    }
    if (errno != EEXIST)
      ThrowErrno("name " + Quoted(as.str()) + " in " + Quoted(dir_.name()));
    hidden_name_ = HiddenName();
    if (linkat(AT_FDCWD, self.c_str(), dir_.fd(), hidden_name_.c_str(), AT_SYMLINK_FOLLOW) < 0) {
      const int error = errno;
      hidden_name_.clear();
      ThrowErrno("name " + Quoted(as.str()) + " in " + Quoted(dir_.name()), error);
    }
  }
  if (renameat(dir_.fd(), hidden_name_.c_str(), dir_.fd(), as.c_str()) < 0) {
    ThrowErrno("rename to " + Quoted(as.str()) + " in " + Quoted(dir_.name()));
  }
  hidden_name_.clear();
  if (durable)
    dir_.Sync();
}

}  // namespace gantry
