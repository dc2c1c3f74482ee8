// "tmpcopyup": a tmpfs over a directory of the image begins with what the directory holds.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "runner/setup_steps.h"

namespace gantry::runner {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kChunk = 1024 * 1024;

struct Entry {  // linux_dirent64
  uint64_t inode;
  int64_t offset;
  unsigned short size;
  unsigned char type;
  char name[1];
};

class Copier {
 public:
  explicit Copier(size_t index) : index_(index) {}

  void Directory(int from, int into, int depth) {
    if (depth > kMaxDepth)
      FailSetup(Step::kCopyUp, ELOOP, index_);
    alignas(Entry) char entries[8192];
    long size = 0;
    while ((size = syscall(SYS_getdents64, from, entries, sizeof entries)) > 0) {
      for (long at = 0; at < size;) {
        const auto* entry = reinterpret_cast<const Entry*>(entries + at);
        at += entry->size;
        if (std::strcmp(entry->name, ".") != 0 && std::strcmp(entry->name, "..") != 0)
          One(from, into, entry->name, depth);
      }
    }
    Check(size);
  }

 private:
  void Check(long result) const {
    if (result < 0)
      FailSetup(Step::kCopyUp, errno, index_);
  }

  void One(int from, int into, const char* name, int depth) {
    struct stat status {};
    Check(fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW));
    if (S_ISDIR(status.st_mode)) {
      Check(mkdirat(into, name, 0700));
      const int source = Open(from, name, O_RDONLY | O_DIRECTORY);
      const int target = Open(into, name, O_RDONLY | O_DIRECTORY);
      Directory(source, target, depth + 1);
      Finish(target, status);
      close(source);
    } else if (S_ISREG(status.st_mode)) {
      File(from, into, name, status);
    } else if (S_ISLNK(status.st_mode)) {
      char text[4096] = {};
      Check(readlinkat(from, name, text, sizeof text - 1));
      Check(symlinkat(text, into, name));
      Check(fchownat(into, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW));
    } else {
      Check(mknodat(into, name, status.st_mode, status.st_rdev));
      Check(fchownat(into, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW));
    }
  }

  void File(int from, int into, const char* name, const struct stat& status) {
    const int source = Open(from, name, O_RDONLY | O_NONBLOCK);
    const int target = openat(into, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    Check(target);
    long count = 0;
    while ((count = sendfile(target, source, nullptr, kChunk)) > 0) {
    }
    Check(count);
    Finish(target, status);
    close(source);
  }

  int Open(int dir, const char* name, uint64_t flags) const {
    const int fd = OpenResolved(dir, name, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    Check(fd);
    return fd;
  }

  // The owner first: changing it takes set-id bits away.
  void Finish(int fd, const struct stat& status) const {
    Check(fchown(fd, status.st_uid, status.st_gid));
    Check(fchmod(fd, status.st_mode & 07777));
    const timespec times[2] = {status.st_atim, status.st_mtim};
    Check(futimens(fd, times));
    close(fd);
  }

  size_t index_;
};

}  // namespace

void CopyUp(int from, int into, size_t index) { Copier(index).Directory(from, into, 0); }

}  // namespace gantry::runner
