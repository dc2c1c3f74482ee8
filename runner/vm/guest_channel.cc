#include "runner/vm/guest_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "libimage/base/error.h"

namespace gantry::runner::vm {

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

std::string PrintFrame(uint16_t process, FrameType type, uint8_t stream, std::string_view payload) {
  const FrameHeader header{static_cast<uint32_t>(payload.size()), type, stream, process};
  return std::string(BytesOf(header)).append(payload);
}

void SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    ThrowErrno("set up the channel to the virtual machine");
}

GuestChannel::GuestChannel(UniqueFd port, UniqueFd console, EventLoop& loop)
    : loop_(loop),
      port_(std::move(port)),
      console_(std::move(console)),
      reader_(std::make_unique<FrameReader>(GuestMaySend)) {
  SetNonBlocking(port_.get());
  SetNonBlocking(console_.get());
  loop_.Watch(port_.get(), [this] { Read(); });
  loop_.Watch(console_.get(), [this] { ReadConsole(); });
}

GuestChannel::~GuestChannel() {
  for (const UniqueFd* fd : {&port_, &console_}) {
    if (!*fd)
      continue;
    loop_.Forget(fd->get());
    loop_.ForgetRoom(fd->get());
  }
}

void GuestChannel::Fail(std::string_view did) {
  ReadConsole();
  const std::string lines = LastLines(said_);
  throw Error(ErrorKind::kFailed, "the virtual machine " + std::string(did),
              lines.empty() ? "its console said nothing" : "its console said last:\n" + lines);
}

void GuestChannel::Send(uint16_t process, FrameType type, uint8_t stream, std::string_view payload) {
  if (!port_)
    return;
  if (unsent_.empty())
    loop_.WatchRoom(port_.get(), [this] { Write(); });
  unsent_ += PrintFrame(process, type, stream, payload);
}

void GuestChannel::Write() {
  const ssize_t count = write(port_.get(), unsent_.data(), unsent_.size());
  if (count > 0)
    unsent_.erase(0, static_cast<size_t>(count));
  // Its end shows by reading.
  if (unsent_.empty() || (count < 0 && errno != EAGAIN && errno != EINTR))
    loop_.ForgetRoom(port_.get());
}

void GuestChannel::Read() {
  size_t size = 0;
  char* into = reader_->Room(size);
  const ssize_t count = read(port_.get(), into, size);
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (count <= 0) {
    loop_.Forget(port_.get());
    loop_.ForgetRoom(port_.get());
    port_.Reset();
    return;
  }
  reader_->Took(static_cast<size_t>(count));
  Frame frame;
  for (;;) {
    const auto result = reader_->Next(frame);
    if (result == FrameReader::Result::kBroken)
      Fail("does not keep to the protocol");
    if (result == FrameReader::Result::kNone)
      return;
    Take(frame);
  }
}

void GuestChannel::Take(const Frame& frame) {
  if (frame.type == FrameType::kHello && !hello_ && frame.As<uint32_t>() == kProtocolVersion) {
    hello_ = true;
    return;
  }
  const auto taker = takers_.find(frame.process);
  if ((!hello_ && frame.type != FrameType::kProblem) || taker == takers_.end())
    Fail("does not keep to the protocol");
  const auto take = taker->second;  // it may forget itself
  take(frame);
}

void GuestChannel::ReadConsole() {
  std::array<char, 4096> buffer;
  while (console_) {
    const ssize_t count = read(console_.get(), buffer.data(), buffer.size());
    if (count == 0) {
      loop_.Forget(console_.get());
      console_.Reset();
    }
    if (count <= 0)
      return;
    said_.append(buffer.data(), static_cast<size_t>(count));
    console_bytes_ += static_cast<uint64_t>(count);
    if (said_.size() > 2 * kConsoleTail)
      said_.erase(0, said_.size() - kConsoleTail);
    if (console_bytes_ > kMaxConsoleBytes)
      throw Error(ErrorKind::kFailed, "the virtual machine floods its console", "it said last:\n" + LastLines(said_));
  }
}

}  // namespace gantry::runner::vm
