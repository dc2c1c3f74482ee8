// Owners, modes, extended attributes and times of what a layer's entries become.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "libimage/layer/archive.h"
#include "libimage/layer/unpack.h"

namespace gantry::image {

// The extended attributes in which overlayfs speaks to itself: "trusted.overlay." or "user.overlay.".
std::string_view OverlayXattrs(UnpackOptions::Whiteouts whiteouts);

// A character device 0:0: how overlayfs marks what is gone.
bool IsWhiteout(const struct stat& status);

// Whether a directory is marked as hiding all that is below it.
bool IsOpaque(int fd, UnpackOptions::Whiteouts whiteouts);

// What is at `name` in the open directory `dir` ("." is the directory itself) as an entry: all but its name and
// content, the target of a symbolic link included. Without what overlayfs keeps there for itself, and with the escaping
// undone that AttributeWriter does; without what means this machine only (security.selinux, system.nfs4_acl).
Entry ReadAttributes(int dir, const std::string& name, const struct stat& status, UnpackOptions::Whiteouts whiteouts);

// Gives entries their attributes, in the order that keeps all of them: owner, mode (which chown clears in part),
// extended attributes (which chown clears in part too), times. Counts in `result` what is not allowed here and may be.
class AttributeWriter {
 public:
  // Borrows `result`.
  AttributeWriter(const UnpackOptions& options, UnpackResult& result);

  // To an open file or directory. `has_mode`: it was just made by open(2) with entry.mode & 0777.
  void ToFd(int fd, const Entry& entry, bool has_mode = false) const;
  // To a link, device or fifo `name` in `dir`.
  void ToName(int dir, const std::string& name, const Entry& entry) const;

  // Marks a directory as hiding all that is below it.
  void MakeOpaque(int fd) const;

 private:
  template <typename Chown>
  uint32_t Own(const Entry& entry, Chown chown) const;
  template <typename SetXattr>
  void SetXattrs(const Entry& entry, SetXattr set) const;
  std::string XattrName(const std::string& name) const;

  UnpackOptions options_;
  UnpackResult& result_;
  uint32_t user_, group_;  // whom new files belong to
  uint32_t umask_;
};

}  // namespace gantry::image
