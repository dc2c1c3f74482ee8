// Directories as descriptors, and paths that are parsed before they are used.
//
// Nothing that came from outside is ever handed to the kernel as a path from "/" or from the working directory. A
// RelPath can only name something below a directory; a Dir resolves it with openat2(2), so that neither "..", nor an
// absolute name, nor a symbolic link that another process swaps in can lead elsewhere. There is no fall-back for
// kernels without openat2 (5.6): they get kUnsupported.
#pragma once

#include <sys/stat.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/fd.h"

namespace gantry {

// A relative path in one spelling: components joined by single slashes, none of them empty, "." or "..", no NUL byte,
// each at most 255 bytes, at most 4095 bytes in all. Bytes need not be UTF-8.
class RelPath {
 public:
  // Rejects (kCorrupt) whatever is not already in that spelling.
  static RelPath Parse(std::string_view text);

  const std::string& str() const { return text_; }
  const char* c_str() const { return text_.c_str(); }

  // The part before the last slash; nullopt for a single component.
  std::optional<RelPath> Parent() const;
  std::string_view Name() const;

  friend RelPath operator/(const RelPath& base, const RelPath& rest);
  friend auto operator<=>(const RelPath&, const RelPath&) = default;

 private:
  explicit RelPath(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

class Dir {
 public:
  // Opens an existing directory named by the user or by configuration, following symbolic links.
  static Dir Open(const std::string& path);

  // As Open, after creating it and its missing parents with `mode`.
  static Dir Create(const std::string& path, mode_t mode = 0755);

  // Takes a descriptor of a directory.
  explicit Dir(UniqueFd fd, std::string name);

  int fd() const { return fd_.get(); }
  // What the directory was opened as; for messages only.
  const std::string& name() const { return name_; }

  // Opens below this directory; no symbolic link is followed anywhere in `path`. For trees that gantry owns.
  UniqueFd OpenBeneath(const RelPath& path, int flags, mode_t mode = 0600) const;
  Dir OpenDir(const RelPath& path) const;

  // As OpenBeneath, but nullopt when `path` does not exist.
  std::optional<UniqueFd> TryOpenBeneath(const RelPath& path, int flags) const;

  // Opens `path` as a process with this directory as its root would: links are followed, and stay inside. For image
  // roots. `path` may be absolute or relative and hold "..".
  UniqueFd OpenInRoot(std::string_view path, int flags, mode_t mode = 0600) const;

  // As OpenInRoot, but nullopt when `path` does not exist.
  std::optional<UniqueFd> TryOpenInRoot(std::string_view path, int flags) const;

  // Creates the missing directories of `path` and opens the last. Links are not followed.
  Dir MakeDirs(const RelPath& path, mode_t mode = 0755) const;

  // Names in this directory, sorted, without "." and "..".
  std::vector<std::string> List() const;

  bool Exists(const RelPath& path) const;
  std::optional<struct stat> Stat(const RelPath& path) const;  // lstat; nullopt when absent

  // Within this directory. Replaces `to`.
  void Rename(const RelPath& from, const RelPath& to) const;

  void RemoveFile(const RelPath& path) const;  // no error when absent

  // Removes `path` and all below it without following links or leaving the file system it starts on; no error when
  // absent. Chmods directories that it owns and may not enter.
  void RemoveTree(const RelPath& path) const;

  // The whole file, at most `max_bytes`, else kCorrupt.
  std::string ReadFile(const RelPath& path, size_t max_bytes) const;

  // Writes `bytes` so that `path` holds either its old content or the new one after a crash at any instant:
  // a new file, fsync, rename, fsync of the directory.
  void WriteFileAtomically(const RelPath& path, std::string_view bytes, mode_t mode = 0644) const;

  // fsync(2) of the directory itself, so that its names survive a crash.
  void Sync() const;

 private:
  UniqueFd fd_;
  std::string name_;
};

// `path` absolute and without links; throws when it does not exist.
std::string RealPath(const std::string& path);

// A file that has no name until it is whole. Without Commit nothing is left behind, even after kill -9 (O_TMPFILE;
// on file systems without it, a hidden name in the same directory that the destructor removes).
class StagedFile {
 public:
  // Creates in `dir`, which must outlive this.
  explicit StagedFile(const Dir& dir, mode_t mode = 0644);
  StagedFile(const StagedFile&) = delete;
  StagedFile& operator=(const StagedFile&) = delete;
  ~StagedFile();

  int fd() const { return fd_.get(); }

  // fsync, then gives the file its name, replacing what had it. `durable` false skips the fsyncs.
  void Commit(const RelPath& as, bool durable = true);

 private:
  const Dir& dir_;
  UniqueFd fd_;
  std::string hidden_name_;  // empty with O_TMPFILE
};

}  // namespace gantry
