#include "libimage/layer/attributes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "libimage/base/error.h"
#include "libimage/base/fd.h"

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
