#include "runner/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr size_t kChunk = 16 * 1024;

// Standard output may be non-blocking, shared with others: waits until it takes all.
void WriteOut(const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = write(STDOUT_FILENO, data, size);
    if (count < 0 && errno == EAGAIN) {
      pollfd room = {STDOUT_FILENO, POLLOUT, 0};
      poll(&room, 1, -1);
      continue;
    }
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return;  // nobody looks any more; the application goes on
    data += count;
    size -= static_cast<size_t>(count);
  }
}

}  // namespace

Console::Console(UniqueFd master, bool input) : master_(std::move(master)), input_open_(input) {
  const int flags = fcntl(master_.get(), F_GETFL);
  if (flags < 0 || fcntl(master_.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    ThrowErrno("set up the container's terminal");
  if (input)
    raw_.emplace();
  Resize();
}

void Console::Resize() const {
  if (const auto size = CallersWindow())
    ioctl(master_.get(), TIOCSWINSZ, &*size);
}

void Console::ReadInput() {
  std::array<char, kChunk> buffer;
  const ssize_t count = read(STDIN_FILENO, buffer.data(), buffer.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN))
    return;
  if (count > 0) {
    pending_.append(buffer.data(), static_cast<size_t>(count));
    return;
  }
  // The end of a pipe is what ^D is on a terminal; the terminal itself says so if it is in cooked mode.
  input_open_ = false;
  termios mode{};
  if (tcgetattr(master_.get(), &mode) == 0 && (mode.c_lflag & static_cast<tcflag_t>(ICANON)) != 0)
    pending_.push_back(static_cast<char>(mode.c_cc[VEOF]));
}

void Console::WriteToContainer() {
  const ssize_t count = write(master_.get(), pending_.data(), pending_.size());
  if (count > 0)
    pending_.erase(0, static_cast<size_t>(count));
  else if (errno != EAGAIN && errno != EINTR)
    pending_.clear();
}

bool Console::CopyOutput() {
  std::array<char, kChunk> buffer;
  const ssize_t count = read(master_.get(), buffer.data(), buffer.size());
  if (count > 0)
    WriteOut(buffer.data(), static_cast<size_t>(count));
  // EIO: the last descriptor of the other end is closed.
  return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

void Console::DrainOutput() {
  for (;;) {
    pollfd more = {master_.get(), POLLIN, 0};
    if (poll(&more, 1, 0) <= 0 || (more.revents & POLLIN) == 0 || !CopyOutput())
      return;
  }
}

}  // namespace gantry::runner
