// Ownership of file descriptors, and whole reads and writes on them.
//
// A UniqueFd owns one descriptor and closes it. Functions that only use a descriptor borrow a plain int. Everything
// opened here is close-on-exec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace gantry {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  // Gives the descriptor away; the caller closes it.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  // Closes now and keeps errno. A close error is lost: writers call Finish() on their sink, which syncs first.
  void Reset();

 private:
  int fd_ = -1;
};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

// Opens `path` as open(2) does, with O_CLOEXEC; throws with the path quoted.
UniqueFd OpenFile(const std::string& path, int flags, unsigned mode = 0600);

// A file that lies nowhere but in memory, with `content`, at its beginning.
UniqueFd MemoryFile(const char* name, std::string_view content = {});

// A pipe with both ends close-on-exec.
Pipe MakePipe();

// Two Unix sockets that are each other's peers, close-on-exec; SOCK_STREAM or SOCK_SEQPACKET.
std::pair<UniqueFd, UniqueFd> SocketPair(int type);

// Reads until `into` is full or the file ends; returns the count. `what` names the file in errors.
size_t ReadFull(int fd, std::span<std::byte> into, std::string_view what);

// As ReadFull, from `offset` on, whatever the position of `fd`, which stays.
size_t ReadFullAt(int fd, uint64_t offset, std::span<std::byte> into, std::string_view what);

// Writes all of `bytes`. `what` names the file in errors.
void WriteFull(int fd, std::span<const std::byte> bytes, std::string_view what);

// Copies the rest of `from` to where `to` is, by the kernel where it can. `what` names the file in errors.
void CopyRest(int from, int to, std::string_view what);

// The rest of the file, refused with kCorrupt if it is longer than `max_bytes`.
std::string ReadAll(int fd, size_t max_bytes, std::string_view what);

// The whole file at `path`, refused with kCorrupt if it is longer than `max_bytes` or is not a regular file.
std::string ReadFile(const std::string& path, size_t max_bytes);

std::span<const std::byte> AsBytes(std::string_view text);
std::string_view AsText(std::span<const std::byte> bytes);

}  // namespace gantry
