#include "libimage/base/fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "libimage/base/error.h"

namespace gantry {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void UniqueFd::Reset() {
  if (fd_ < 0)
    return;
  const int saved = errno;
  close(std::exchange(fd_, -1));
  errno = saved;
}

UniqueFd OpenFile(const std::string& path, int flags, unsigned mode) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0)
    ThrowErrno("open " + Quoted(path));
  return UniqueFd(fd);
}

UniqueFd MemoryFile(const char* name, std::string_view content) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd)
    ThrowErrno("make a file in memory");
  WriteFull(fd.get(), AsBytes(content), name);
  if (lseek(fd.get(), 0, SEEK_SET) < 0)
    ThrowErrno("rewind a file in memory");
  return fd;
}

Pipe MakePipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) < 0)
    ThrowErrno("make a pipe");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

namespace {

// Calls `read_at(rest, filled)`, a read(2) of some kind, until `into` is full or the file ends.
template <typename Read>
size_t Fill(std::span<std::byte> into, std::string_view what, Read read_at) {
  size_t filled = 0;
  while (filled < into.size()) {
    const ssize_t n = read_at(into.subspan(filled), filled);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      ThrowErrno("read " + std::string(what));
    if (n == 0)
      break;
    filled += static_cast<size_t>(n);
  }
  return filled;
}

}  // namespace

std::pair<UniqueFd, UniqueFd> SocketPair(int type) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) < 0)
    ThrowErrno("make a pair of sockets");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

size_t ReadFull(int fd, std::span<std::byte> into, std::string_view what) {
  return Fill(into, what, [fd](std::span<std::byte> rest, size_t) { return read(fd, rest.data(), rest.size()); });
}

size_t ReadFullAt(int fd, uint64_t offset, std::span<std::byte> into, std::string_view what) {
  return Fill(into, what, [fd, offset](std::span<std::byte> rest, size_t filled) {
    return pread(fd, rest.data(), rest.size(), static_cast<off_t>(offset + filled));
  });
}

void WriteFull(int fd, std::span<const std::byte> bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      ThrowErrno("write " + std::string(what));
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void CopyRest(int from, int to, std::string_view what) {
  for (;;) {
    const ssize_t n = copy_file_range(from, nullptr, to, nullptr, size_t{1} << 30, 0);
    if (n == 0)
      return;
    if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
      break;
    if (n < 0)
      ThrowErrno("copy " + std::string(what));
  }
  std::array<std::byte, 64 * 1024> buffer{};
  for (size_t n = 1; n > 0;) {
    n = ReadFull(from, buffer, what);
    WriteFull(to, std::span(buffer).first(n), what);
  }
}

std::string ReadAll(int fd, size_t max_bytes, std::string_view what) {
  constexpr size_t kLargestStep = 64 * 1024;
  std::string text;
  // Most are small, and the kernel's are read by the dozen: pages of memory that nothing comes into are not touched.
  for (size_t step = 4096;; step = std::min(4 * step, kLargestStep)) {
    const size_t had = text.size();
    text.resize(had + step);
    const size_t got = ReadFull(fd, std::as_writable_bytes(std::span(text)).subspan(had), what);
    text.resize(had + got);
    if (text.size() > max_bytes) {
      throw Error(ErrorKind::kCorrupt, std::string(what) + " is longer than " + std::to_string(max_bytes) + " bytes");
    }
    if (got < step)
      return text;
  }
}

std::string ReadFile(const std::string& path, size_t max_bytes) {
  // O_NONBLOCK: a FIFO put in the place of a file must not hang the reader.
  const UniqueFd fd = OpenFile(path, O_RDONLY | O_NONBLOCK);
  struct stat status {};
  if (fstat(fd.get(), &status) < 0)
    ThrowErrno("stat " + Quoted(path));
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorKind::kFailed, Quoted(path) + " is not a regular file");
  return ReadAll(fd.get(), max_bytes, Quoted(path));
}

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace gantry
