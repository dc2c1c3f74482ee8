#include "runner/vm/caller_streams.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "libimage/base/error.h"
#include "runner/attend.h"

namespace gantry::runner::vm {
namespace {

UniqueFd CopyOf(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy)
    ThrowErrno("copy descriptor " + std::to_string(fd));
  return copy;
}

}  // namespace

CallerSignals::CallerSignals(EventLoop& loop, std::function<bool()> started, std::function<void(int32_t)> hand_on)
    : loop_(loop), started_(std::move(started)), hand_on_(std::move(hand_on)), signals_(ForwardedSignals()) {
  loop_.Watch(signals_.get(), [this] { Hear(); });
}

void CallerSignals::Hear() {
  signalfd_siginfo signal{};
  while (read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
    const auto number = static_cast<int32_t>(signal.ssi_signo);
    if (number == SIGWINCH)
      resize_();
    else if (started_())
      hand_on_(number);
    else if (number == SIGTERM || number == SIGINT || number == SIGHUP || number == SIGQUIT)
      ended_by_ = number;
  }
}

CallerStreams::CallerStreams(EventLoop& loop, GuestProcess& process, CallerSignals& signals, bool terminal,
                             bool interactive)
    : loop_(loop),
      process_(process),
      signals_(signals),
      terminal_(terminal),
      interactive_(interactive),
      in_(CopyOf(STDIN_FILENO)),
      out_{CopyOf(STDOUT_FILENO), CopyOf(STDERR_FILENO)} {
  process_.SetStreams([this](uint8_t stream, std::string_view bytes) { Add(stream, bytes); }, [this] { WatchInput(); });
}

void CallerStreams::Begin() {
  if (terminal_ && interactive_)
    raw_ = std::make_unique<RawTerminal>();
  if (terminal_) {
    signals_.OnResize([this] { SendWindow(); });
    SendWindow();
  }
}

CallerStreams::~CallerStreams() {
  loop_.Forget(in_.get());
  for (const UniqueFd& fd : out_) loop_.ForgetRoom(fd.get());
}

void CallerStreams::SendWindow() {
  if (const auto size = CallersWindow())
    process_.Resize(size->ws_row, size->ws_col);
}

void CallerStreams::WatchInput() {
  if (interactive_ && process_.room() > 0)
    loop_.Watch(in_.get(), [this] { ReadInput(); });
  else
    loop_.Forget(in_.get());
}

void CallerStreams::ReadInput() {
  std::array<char, kMaxFrameBytes> buffer;
  const ssize_t count = read(in_.get(), buffer.data(), std::min(buffer.size(), process_.room()));
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (count > 0)
    process_.Input({buffer.data(), static_cast<size_t>(count)});
  else
    process_.EndInput();
  WatchInput();
}

void CallerStreams::Add(uint8_t stream, std::string_view bytes) {
  const size_t index = stream - size_t{1};
  if (!open_[index]) {
    process_.Taken(bytes.size());
    return;
  }
  if (unwritten_[index].empty())
    loop_.WatchRoom(out_[index].get(), [this, index] { Write(index); });
  unwritten_[index] += bytes;
}

// No more at once than a pipe takes that has said that it has room: whoever does not read must not keep signals from
// the process.
void CallerStreams::Write(size_t index) {
  const int fd = out_[index].get();
  std::string& pending = unwritten_[index];
  struct stat status {};
  const bool file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const ssize_t count = write(fd, pending.data(), file ? pending.size() : std::min<size_t>(pending.size(), PIPE_BUF));
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  process_.Taken(count < 0 ? pending.size() : static_cast<size_t>(count));
  if (count < 0) {
    open_[index] = false;
    process_.OutputClosed(static_cast<uint8_t>(index + 1));
  }
  pending.erase(0, count < 0 ? pending.size() : static_cast<size_t>(count));
  if (pending.empty())
    loop_.ForgetRoom(fd);
}

}  // namespace gantry::runner::vm
