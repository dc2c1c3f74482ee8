#include "runner/guest/channel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

namespace gantry::runner::guest {
namespace {

constexpr int kPortAttempts = 5000;  // of a millisecond
constexpr const char kPorts[] = "/sys/class/virtio-ports";

Channel channel;

void Pause() {
  const timespec pause = {0, 1'000'000};
  nanosleep(&pause, nullptr);
}

// The name of the device of our port, or false while there is none: ports appear some time after their driver.
bool FindPort(char (&device)[64]) {
  DIR* ports = opendir(kPorts);
  if (ports == nullptr)
    return false;
  bool found = false;
  for (const dirent* entry = nullptr; !found && (entry = readdir(ports)) != nullptr;) {
    char path[320];
    char name[32] = {};
    snprintf(path, sizeof path, "%s/%s/name", kPorts, entry->d_name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    found = fd >= 0 && read(fd, name, sizeof name - 1) > 0 && strcspn(name, "\n") == strlen(vm::kPortName) &&
            strncmp(name, vm::kPortName, strlen(vm::kPortName)) == 0;
    if (fd >= 0)
      close(fd);
    if (found)
      snprintf(device, sizeof device, "/dev/%.50s", entry->d_name);
  }
  closedir(ports);
  return found;
}

}  // namespace

Channel& TheChannel() { return channel; }

void Channel::Open() {
  char device[64] = {};
  for (int attempt = 0; attempt < kPortAttempts; ++attempt, Pause()) {
    if (fd_ < 0 && FindPort(device))
      fd_ = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    pollfd state = {fd_, POLLOUT, 0};
    if (fd_ >= 0 && poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) == 0)
      return;
  }
  GiveUp(fd_ < 0 ? "find the port to the host" : "reach the host by its port", errno);
}

void Channel::Send(FrameType type, uint8_t stream, const void* payload, size_t size, uint16_t process) {
  vm::FrameHeader header;
  header.size = static_cast<uint32_t>(size);
  header.type = type;
  header.stream = stream;
  header.process = process;
  if (room() < sizeof header + size)
    Flush();
  memcpy(out_ + out_end_, &header, sizeof header);
  if (size > 0)
    memcpy(out_ + out_end_ + sizeof header, payload, size);
  out_end_ += sizeof header + size;
}

void Channel::Write() {
  const ssize_t count = out_end_ > 0 ? write(fd_, out_, out_end_) : 0;
  if (count < 0 && errno != EAGAIN && errno != EINTR)
    PowerOff();
  if (count > 0) {
    memmove(out_, out_ + count, out_end_ - static_cast<size_t>(count));
    out_end_ -= static_cast<size_t>(count);
  }
}

void Channel::Flush() {
  while (out_end_ > 0) {
    pollfd state = {fd_, POLLOUT, 0};
    if (poll(&state, 1, -1) == 1 && (state.revents & POLLHUP) != 0)
      PowerOff();
    Write();
  }
}

bool Channel::Read() {
  size_t size = 0;
  char* into = reader_.Room(size);
  const ssize_t count = read(fd_, into, size);
  if (count > 0)
    reader_.Took(static_cast<size_t>(count));
  return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

bool Channel::Next(Frame& out) {
  const auto result = reader_.Next(out);
  if (result == vm::FrameReader::Result::kBroken)
    GiveUp("understand the host", EPROTO);
  return result == vm::FrameReader::Result::kFrame;
}

void GiveUp(const char* what, int error, bool image) {
  char text[vm::kMaxProblemBytes];
  const int size = error == 0 ? snprintf(text, sizeof text, "%s", what)
                              : snprintf(text, sizeof text, "cannot %s: %s", what, strerror(error));
  dprintf(STDERR_FILENO, "gantry: %s\n", text);
  static bool before = false;  // what the problem is with may be the channel
  if (TheChannel().fd() >= 0 && !before && size > 0) {
    before = true;
    TheChannel().Send(FrameType::kProblem, image ? 1 : 0, text, strnlen(text, sizeof text));
    TheChannel().Flush();
    // The host ends the machine when it has read that; what was written may still be on its way.
    sleep(2);
  }
  PowerOff();
}

void PowerOff() {
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}

}  // namespace gantry::runner::guest
