// The host's end of the port to a guest (frame.h), and of its serial console.
//
// The guest is taken for hostile: frames are bounded and are of processes that are spoken with, or the conversation
// ends. Whatever ends it is an Error with the last lines of the console, thrown out of the event loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "libimage/base/fd.h"
#include "runner/event_loop.h"
#include "runner/vm/frame.h"

namespace gantry::runner::vm {

constexpr size_t kMaxConsoleBytes = 16 * 1024 * 1024;  // in all; what says more does nothing else
constexpr size_t kConsoleTail = 4096;                  // of it that is kept
constexpr size_t kConsoleLines = 8;                    // that are shown

// What the console said at last, for people: without control bytes, one line after the other.
std::string LastLines(std::string_view console);

// A frame as bytes.
std::string PrintFrame(uint16_t process, FrameType type, uint8_t stream, std::string_view payload);

void SetNonBlocking(int fd);

template <typename T>
std::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

class GuestChannel {
 public:
  // `console` is for reading. The loop must outlive this.
  GuestChannel(UniqueFd port, UniqueFd console, EventLoop& loop);
  GuestChannel(const GuestChannel&) = delete;
  GuestChannel& operator=(const GuestChannel&) = delete;
  ~GuestChannel();

  bool hello() const { return hello_; }
  bool ended() const { return !port_; }  // the machine has closed its end

  // Calls `take` with each frame of that process. Frames of others break the protocol.
  void Serve(uint16_t process, std::function<void(const Frame&)> take) { takers_[process] = std::move(take); }
  void Forget(uint16_t process) { takers_.erase(process); }
  bool Serves(uint16_t process) const { return takers_.contains(process); }

  void Send(uint16_t process, FrameType type, uint8_t stream, std::string_view payload);

  // Throws that the virtual machine `did` something, with what its console says.
  [[noreturn]] void Fail(std::string_view did);

 private:
  void Read();
  void Take(const Frame& frame);
  void Write();
  void ReadConsole();

  EventLoop& loop_;
  UniqueFd port_, console_;
  std::unique_ptr<FrameReader> reader_;
  std::map<uint16_t, std::function<void(const Frame&)>> takers_;
  bool hello_ = false;
  std::string unsent_;
  std::string said_;  // by the console
  uint64_t console_bytes_ = 0;
};

}  // namespace gantry::runner::vm
