// The caller's descriptors 0 to 2, its terminal and its signals, for one process of a guest.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "libimage/base/fd.h"
#include "runner/event_loop.h"
#include "runner/raw_terminal.h"
#include "runner/vm/guest_process.h"

namespace gantry::runner::vm {

// Calls `resize` for WINCH, and `hand_on` with any other. What is not started yet hears nothing: TERM, INT, HUP and
// QUIT are then kept as ended_by. Signals that a runner hands on must be blocked (attend.h).
class CallerSignals {
 public:
  CallerSignals(EventLoop& loop, std::function<bool()> started, std::function<void(int32_t)> hand_on);
  CallerSignals(const CallerSignals&) = delete;
  CallerSignals& operator=(const CallerSignals&) = delete;
  ~CallerSignals() { loop_.Forget(signals_.get()); }

  int ended_by() const { return ended_by_; }
  void OnResize(std::function<void()> resize) { resize_ = std::move(resize); }

 private:
  void Hear();
  EventLoop& loop_;
  std::function<bool()> started_;
  std::function<void(int32_t)> hand_on_;
  UniqueFd signals_;
  std::function<void()> resize_ = [] {};
  int ended_by_ = 0;
};

class CallerStreams {
 public:
  // `interactive`: descriptor 0 is read. To be made before there can be output.
  CallerStreams(EventLoop& loop, GuestProcess& process, CallerSignals& signals, bool terminal, bool interactive);
  CallerStreams(const CallerStreams&) = delete;
  CallerStreams& operator=(const CallerStreams&) = delete;
  ~CallerStreams();

  // The process is started. When it has a terminal, it takes over the window's size, and if descriptor 0 is one and is
  // read, that goes raw until this is destroyed.
  void Begin();

  bool written() const { return unwritten_[0].empty() && unwritten_[1].empty(); }

 private:
  void SendWindow();
  void WatchInput();
  void ReadInput();
  void Add(uint8_t stream, std::string_view bytes);
  void Write(size_t index);

  EventLoop& loop_;
  GuestProcess& process_;
  CallerSignals& signals_;
  bool terminal_, interactive_;
  // Copies of the descriptors 0 to 2: the loop knows one watcher for each, and every app has streams.
  UniqueFd in_, out_[2];
  std::string unwritten_[2];
  bool open_[2] = {true, true};
  std::unique_ptr<RawTerminal> raw_;
};

}  // namespace gantry::runner::vm
