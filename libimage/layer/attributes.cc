#include "libimage/layer/attributes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/layer/xattr_sets.h"

namespace gantry::image {
namespace {

// umask(2) can only be asked by setting it, for all threads. Without /proc, nothing is known to pass.
uint32_t Umask() {
  try {
    const std::string status = ReadFile("/proc/self/status", 64 * 1024);
    const size_t at = status.find("\nUmask:\t");
    if (at != std::string::npos)
      return static_cast<uint32_t>(std::stoul(status.substr(at + 8, 4), nullptr, 8));
  } catch (const std::exception&) {
  }
  return 0777;
}

bool MeansTheMachine(std::string_view xattr) { return xattr == "security.selinux" || xattr == "system.nfs4_acl"; }

EntryType TypeOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return EntryType::kDirectory;
    case S_IFLNK:
      return EntryType::kSymlink;
    case S_IFCHR:
      return EntryType::kCharDevice;
    case S_IFBLK:
      return EntryType::kBlockDevice;
    case S_IFIFO:
      return EntryType::kFifo;
    default:
      return EntryType::kFile;
  }
}

std::string ReadLink(int dir, const std::string& name) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = readlinkat(dir, name.c_str(), target.data(), target.size());
  if (size < 0)
    ThrowErrno("read the link " + Quoted(name));
  target.resize(static_cast<size_t>(size));
  return target;
}

// Most files have none, which Linux 6.13 and later can tell (listxattrat(2)) without a way through /proc.
bool HasNoXattrs(int dir, const std::string& name) {
  constexpr long kListxattrat = 465;  // on all architectures; unknown to the headers of glibc 2.36
  return syscall(kListxattrat, dir, name.c_str(), AT_SYMLINK_NOFOLLOW, nullptr, size_t{0}) == 0;
}

Xattrs ReadXattrs(int dir, const std::string& name) {
  if (HasNoXattrs(dir, name))
    return {};
  const std::string path = "/proc/self/fd/" + std::to_string(dir) + "/" + name;
  const ssize_t needed = llistxattr(path.c_str(), nullptr, 0);
  if (needed == 0 || (needed < 0 && errno == ENOTSUP))
    return {};
  std::string names(static_cast<size_t>(std::max<ssize_t>(needed, 0)), '\0');
  const ssize_t size = needed < 0 ? needed : llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0)
    ThrowErrno("list extended attributes of " + Quoted(name));
  names.resize(static_cast<size_t>(size));
  Xattrs xattrs;
  for (size_t begin = 0; begin < names.size(); begin = names.find('\0', begin) + 1) {
    const char* const key = names.c_str() + begin;
    std::string value(kMaxXattrBytes, '\0');
    const ssize_t length = lgetxattr(path.c_str(), key, value.data(), value.size());
    if (length < 0)
      ThrowErrno("read extended attribute " + Quoted(key) + " of " + Quoted(name));
    value.resize(static_cast<size_t>(length));
    xattrs.emplace_back(key, std::move(value));
  }
  std::sort(xattrs.begin(), xattrs.end());
  return xattrs;
}

std::array<timespec, 2> Times(const Entry& entry) {
  const timespec modified{entry.mtime.seconds, static_cast<long>(entry.mtime.nanoseconds)};
  return {modified, modified};
}

}  // namespace

std::string_view OverlayXattrs(UnpackOptions::Whiteouts whiteouts) {
  return whiteouts == UnpackOptions::Whiteouts::kOverlayTrusted ? "trusted.overlay." : "user.overlay.";
}

bool IsWhiteout(const struct stat& status) { return S_ISCHR(status.st_mode) && status.st_rdev == makedev(0, 0); }

bool IsOpaque(int fd, UnpackOptions::Whiteouts whiteouts) {
  const std::string name = std::string(OverlayXattrs(whiteouts)) + "opaque";
  char value = 0;
  return fgetxattr(fd, name.c_str(), &value, 1) == 1 && value == 'y';
}

AttributeWriter::AttributeWriter(const UnpackOptions& options, UnpackResult& result)
    : options_(options), result_(result), user_(geteuid()), group_(getegid()), umask_(Umask()) {}

Entry ReadAttributes(int dir, const std::string& name, const struct stat& status, UnpackOptions::Whiteouts whiteouts) {
  Entry entry{.type = TypeOf(status.st_mode),
              .mode = status.st_mode & 07777,
              .uid = status.st_uid,
              .gid = status.st_gid,
              .mtime = {status.st_mtim.tv_sec, static_cast<uint32_t>(status.st_mtim.tv_nsec)}};
  if (entry.type == EntryType::kFile)
    entry.size = static_cast<uint64_t>(status.st_size);
  if (entry.type == EntryType::kSymlink)
    entry.link = ReadLink(dir, name);
  if (entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice) {
    entry.device_major = major(status.st_rdev);
    entry.device_minor = minor(status.st_rdev);
  }
  const std::string own(OverlayXattrs(whiteouts));
  const std::string escaped = own + "overlay.";
  for (auto& [key, value] : ReadXattrs(dir, name)) {
    const bool mine = key.starts_with(own);
    if (MeansTheMachine(key) || (mine && !key.starts_with(escaped)))
      continue;
    entry.xattrs.emplace_back(mine ? own + key.substr(escaped.size()) : key, std::move(value));
  }
  return entry;
}

// Returns the mode that the entry may have after it.
template <typename Chown>
uint32_t AttributeWriter::Own(const Entry& entry, Chown chown) const {
  if (entry.uid == user_ && entry.gid == group_)
    return entry.mode;
  if (chown(static_cast<uid_t>(entry.uid), static_cast<gid_t>(entry.gid)) == 0)
    return entry.mode;
  if (!options_.keep_owners && (errno == EINVAL || errno == EPERM)) {
    ++result_.skipped_owners;
    return entry.mode & ~uint32_t{S_ISUID | S_ISGID};
  }
  ThrowErrno("change the owner to " + std::to_string(entry.uid) + ":" + std::to_string(entry.gid));
}

std::string AttributeWriter::XattrName(const std::string& name) const {
  const std::string_view own = OverlayXattrs(options_.whiteouts);
  if (!name.starts_with(own))
    return name;
  // overlayfs shows trusted.overlay.overlay.X as trusted.overlay.X and never obeys it.
  return std::string(own) + "overlay." + name.substr(own.size());
}

template <typename SetXattr>
void AttributeWriter::SetXattrs(const Entry& entry, SetXattr set) const {
  for (const auto& [name, value] : entry.xattrs) {
    if (MeansTheMachine(name)) {
      ++result_.skipped_xattrs;
      continue;
    }
    if (set(XattrName(name).c_str(), value.data(), value.size()) == 0)
      continue;
    if (errno != ENOTSUP && errno != EPERM && errno != EACCES)
      ThrowErrno("set extended attribute " + Quoted(name));
    ++result_.skipped_xattrs;
  }
}

void AttributeWriter::ToFd(int fd, const Entry& entry, bool has_mode) const {
  const uint32_t mode = Own(entry, [&](uid_t uid, gid_t gid) { return fchown(fd, uid, gid); });
  if ((!has_mode || (mode & (umask_ | 07000)) != 0) && fchmod(fd, mode) < 0)
    ThrowErrno("change the mode");
  SetXattrs(entry,
            [&](const char* name, const void* value, size_t size) { return fsetxattr(fd, name, value, size, 0); });
  if (futimens(fd, Times(entry).data()) < 0)
    ThrowErrno("set the time");
}

void AttributeWriter::ToName(int dir, const std::string& name, const Entry& entry) const {
  const uint32_t mode =
      Own(entry, [&](uid_t uid, gid_t gid) { return fchownat(dir, name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW); });
  // Links have no mode. What else comes here was just made, so that it is no link that chmod would follow.
  if (entry.type != EntryType::kSymlink && fchmodat(dir, name.c_str(), mode, 0) < 0)
    ThrowErrno("change the mode");
  if (!entry.xattrs.empty()) {
    const std::string path = "/proc/self/fd/" + std::to_string(dir) + "/" + name;
    SetXattrs(entry, [&](const char* key, const void* value, size_t size) {
      return lsetxattr(path.c_str(), key, value, size, 0);
    });
  }
  if (utimensat(dir, name.c_str(), Times(entry).data(), AT_SYMLINK_NOFOLLOW) < 0)
    ThrowErrno("set the time");
}

void AttributeWriter::MakeOpaque(int fd) const {
  const std::string name = std::string(OverlayXattrs(options_.whiteouts)) + "opaque";
  if (fsetxattr(fd, name.c_str(), "y", 1, 0) < 0)
    ThrowErrno("mark a directory as opaque");
}

}  // namespace gantry::image
