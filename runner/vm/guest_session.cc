#include "runner/vm/guest_session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "libimage/base/error.h"
#include "runner/attend.h"
#include "runner/raw_terminal.h"

namespace gantry::runner::vm {
namespace {

static_assert(sizeof(Report) == kReportBytes);

constexpr size_t kMaxUnwritten = 256 * 1024;  // output that the caller has not taken; then the guest waits
constexpr size_t kMaxUnsent = 128 * 1024;     // input and signals that the machine has not taken

int64_t Milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    ThrowErrno("set up the channel to the virtual machine");
}

template <typename T>
std::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace

std::string LastLines(std::string_view console) {
  std::vector<std::string> lines(1);
  for (const char c : console) {
    if (c == '\n')
      lines.emplace_back();
    else if (c >= ' ' && c < 127)
      lines.back().push_back(c);
  }
  std::erase_if(lines, [](const std::string& line) { return line.empty(); });
  std::string out;
  for (size_t i = lines.size() - std::min(lines.size(), kConsoleLines); i < lines.size(); ++i)
    out += (out.empty() ? "" : "\n") + ("  " + lines[i].substr(0, 160));
  return out;
}

GuestSession::GuestSession(Ends ends, const RunConfig& config, std::function<void(const Report&)> failed)
    : ends_(std::move(ends)),
      config_(config),
      reader_(std::make_unique<FrameReader>(GuestMaySend)),
      failed_(std::move(failed)) {
  SetNonBlocking(ends_.channel.get());
  SetNonBlocking(ends_.console.get());
  signals_ = ForwardedSignals();
}

GuestSession::~GuestSession() = default;

void GuestSession::Fail(std::string_view what) {
  ReadConsole();
  const std::string lines = LastLines(console_);
  throw Error(ErrorKind::kFailed, "the virtual machine " + std::string(what),
              lines.empty() ? "its console said nothing" : "its console said last:\n" + lines);
}

void GuestSession::Send(FrameType type, uint16_t stream, std::string_view payload) {
  const FrameHeader header{static_cast<uint32_t>(payload.size()), type, stream};
  outgoing_.append(BytesOf(header)).append(payload);
}

void GuestSession::SendBlob(FrameType type, std::string_view bytes) {
  if (bytes.size() > kMaxBlobBytes)
    throw Error(ErrorKind::kUnsupported, "what the virtual machine is to be told is longer than 16 MiB",
                "are the arguments and the environment meant to be so long?");
  for (size_t at = 0; at < bytes.size(); at += kMaxFrameBytes) Send(type, 0, bytes.substr(at, kMaxFrameBytes));
  Send(type, 0, {});
}

void GuestSession::SendWindow() {
  if (const auto size = CallersWindow(); size && config_.terminal)
    Send(FrameType::kResize, 0, BytesOf(WindowSize{size->ws_row, size->ws_col}));
}

bool GuestSession::AwaitHello(int seconds) {
  return Until([&] { return hello_; }, seconds, "did not start in time");
}

bool GuestSession::AwaitRoot(int seconds, AccountFiles& out) {
  stage_ = Stage::kMounting;
  if (!Until([&] { return root_; }, seconds, "did not make the container in time"))
    return false;
  out = std::move(accounts_);
  return true;
}

bool GuestSession::AwaitStarted(int seconds) {
  stage_ = Stage::kStarting;
  return Until([&] { return started_; }, seconds, "did not start the application in time");
}

int GuestSession::Serve() {
  stage_ = Stage::kRunning;
  input_open_ = config_.interactive;
  if (config_.terminal && config_.interactive)
    raw_ = std::make_unique<RawTerminal>();
  SendWindow();
  Until([&] { return status_ && output_[0].empty() && output_[1].empty(); }, -1, "");
  raw_.reset();
  return *status_;
}

bool GuestSession::Until(const std::function<bool()>& done, int seconds, std::string_view what) {
  const int64_t end = Milliseconds() + int64_t{seconds} * 1000;
  while (!done()) {
    if (ended_by_ != 0)
      return false;
    const int64_t left = end - Milliseconds();
    if (seconds >= 0 && left <= 0)
      Fail(what);
    Turn(seconds < 0 ? -1 : static_cast<int>(std::min<int64_t>(left, INT_MAX)));
  }
  return true;
}

// One wait, and what came of it.
void GuestSession::Turn(int milliseconds) {
  const bool room = output_[0].size() + output_[1].size() < kMaxUnwritten;
  const bool wants_input = input_open_ && credit_ > 0 && outgoing_.size() < kMaxUnsent && !status_;
  const bool wants_channel = channel_open_ && !status_;
  const auto channel = static_cast<short>((room ? POLLIN : 0) | (outgoing_.empty() ? 0 : POLLOUT));
  std::array<pollfd, 6> waiting = {{{wants_channel && channel != 0 ? ends_.channel.get() : -1, channel, 0},
                                    {console_open_ ? ends_.console.get() : -1, POLLIN, 0},
                                    {signals_.get(), POLLIN, 0},
                                    {wants_input ? STDIN_FILENO : -1, POLLIN, 0},
                                    {output_[0].empty() ? -1 : STDOUT_FILENO, POLLOUT, 0},
                                    {output_[1].empty() ? -1 : STDERR_FILENO, POLLOUT, 0}}};
  if (poll(waiting.data(), waiting.size(), milliseconds) < 0 && errno != EINTR)
    ThrowErrno("poll");
  if (waiting[1].revents != 0)
    ReadConsole();
  if (waiting[2].revents != 0)
    HandleSignals();
  if ((waiting[0].revents & POLLOUT) != 0)
    WriteChannel();
  if ((waiting[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
    ReadChannel();
  if (waiting[3].revents != 0)
    ReadInput();
  for (int i = 0; i < 2; ++i) {
    if (waiting[size_t{4} + static_cast<size_t>(i)].revents != 0)
      WriteOutput(i);
  }
}

void GuestSession::ReadChannel() {
  size_t size = 0;
  char* into = reader_->Room(size);
  const ssize_t count = read(ends_.channel.get(), into, size);
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (count <= 0) {
    channel_open_ = false;
    Fail(stage_ == Stage::kRunning ? "ended before the application did" : "ended before the application was started");
  }
  reader_->Took(static_cast<size_t>(count));
  Frame frame;
  for (;;) {
    const auto result = reader_->Next(frame);
    if (result == FrameReader::Result::kBroken)
      Fail("does not keep to the protocol");
    if (result == FrameReader::Result::kNone || status_)
      return;
    HandleFrame(frame);
  }
}

void GuestSession::HandleFrame(const Frame& frame) {
  if (frame.type == FrameType::kProblem) {
    const std::string text = Quoted({frame.payload, frame.size});
    if (frame.stream == 1)
      throw Error(ErrorKind::kCorrupt, text.substr(1, text.size() - 2), "choose --user by number");
    Fail("gave up: " + text.substr(1, text.size() - 2));
  }
  if (stage_ == Stage::kBooting || stage_ == Stage::kMounting) {
    HandleEarly(frame);
    return;
  }
  const auto index = static_cast<size_t>(frame.stream - 1);
  switch (frame.type) {
    case FrameType::kOutput:
      if (output_open_[index])
        output_[index].append(frame.payload, frame.size);
      return;
    case FrameType::kReport:
      if (const auto report = frame.As<Report>(); stage_ == Stage::kStarting && report.kind == Report::kFailed)
        failed_(report);
      return;
    case FrameType::kStarted:
      started_ = true;
      return;
    case FrameType::kCredit:
      credit_ = std::min<uint64_t>(credit_ + frame.As<uint32_t>(), kMaxCredit);
      return;
    case FrameType::kInputClosed:
      input_open_ = false;
      return;
    case FrameType::kExit:
      status_ = frame.As<int32_t>();
      return;
    default:
      Fail("does not keep to the protocol");
  }
}

// Before the container is there.
void GuestSession::HandleEarly(const Frame& frame) {
  if (frame.type == FrameType::kHello && !hello_ && frame.As<uint32_t>() == kProtocolVersion) {
    hello_ = true;
    return;
  }
  std::string* const file = frame.type == FrameType::kPasswd  ? &accounts_.passwd
                            : frame.type == FrameType::kGroup ? &accounts_.group
                                                              : nullptr;
  if (stage_ == Stage::kMounting && file != nullptr && frame.size <= kMaxAccountFileBytes - file->size()) {
    file->append(frame.payload, frame.size);
  } else if (stage_ == Stage::kMounting && frame.type == FrameType::kReport) {
    const auto report = frame.As<Report>();
    if (report.kind == Report::kFailed)
      failed_(report);
  } else if (stage_ == Stage::kMounting && frame.type == FrameType::kRoot && !root_) {
    root_ = true;
  } else {
    Fail("does not keep to the protocol");
  }
}

void GuestSession::WriteChannel() {
  const ssize_t count = write(ends_.channel.get(), outgoing_.data(), outgoing_.size());
  if (count > 0)
    outgoing_.erase(0, static_cast<size_t>(count));
}

void GuestSession::ReadConsole() {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t count = read(ends_.console.get(), buffer.data(), buffer.size());
    if (count == 0)
      console_open_ = false;
    if (count <= 0)
      return;
    console_.append(buffer.data(), static_cast<size_t>(count));
    console_bytes_ += static_cast<uint64_t>(count);
    if (console_.size() > 2 * kConsoleTail)
      console_.erase(0, console_.size() - kConsoleTail);
    if (console_bytes_ > kMaxConsoleBytes)
      break;
  }
  const std::string lines = LastLines(console_);
  throw Error(ErrorKind::kFailed, "the virtual machine floods its console", "it said last:\n" + lines);
}

void GuestSession::HandleSignals() {
  signalfd_siginfo signal{};
  while (read(signals_.get(), &signal, sizeof signal) == sizeof signal) {
    auto number = static_cast<int32_t>(signal.ssi_signo);
    if (number == SIGWINCH) {
      if (stage_ == Stage::kRunning)
        SendWindow();
    } else if (stage_ == Stage::kRunning) {
      if (number == SIGTERM)
        number = config_.stop_signal;
      Send(FrameType::kSignal, 0, BytesOf(number));
    } else if (number == SIGTERM || number == SIGINT || number == SIGHUP || number == SIGQUIT) {
      ended_by_ = number;  // there is no application yet that could hear it
    }
  }
}

void GuestSession::ReadInput() {
  std::array<char, kMaxFrameBytes> buffer;
  const ssize_t count = read(STDIN_FILENO, buffer.data(), std::min<uint64_t>(buffer.size(), credit_));
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (count <= 0) {
    input_open_ = false;
    Send(FrameType::kInputEnd, 0, {});
    return;
  }
  credit_ -= static_cast<uint64_t>(count);
  Send(FrameType::kInput, 0, {buffer.data(), static_cast<size_t>(count)});
}

// No more at once than a pipe takes that has said that it has room: whoever does not read must not keep signals from
// the application.
void GuestSession::WriteOutput(int index) {
  std::string& pending = output_[index];
  struct stat status {};
  const int fd = index + 1;
  const bool file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const ssize_t count = write(fd, pending.data(), file ? pending.size() : std::min<size_t>(pending.size(), PIPE_BUF));
  if (count >= 0) {
    pending.erase(0, static_cast<size_t>(count));
  } else if (errno != EAGAIN && errno != EINTR) {
    pending.clear();
    output_open_[index] = false;
    Send(FrameType::kOutputClosed, static_cast<uint16_t>(fd), {});
  }
}

}  // namespace gantry::runner::vm
