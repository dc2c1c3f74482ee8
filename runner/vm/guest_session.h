// The host's end of the conversation with a guest (frame.h), and what the caller's streams, terminal and signals have
// to do with it.
//
// The guest is taken for hostile: frames are bounded, come in their order or not at all, and nothing of it is kept but
// what is on its way out. A guest that breaks this, is silent for too long, or whose machine ends before it said how
// its application did, is an Error with the last lines of its console.
#pragma once

#include <signal.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/fd.h"
#include "runner/config.h"
#include "runner/protocol.h"
#include "runner/user.h"
#include "runner/vm/frame.h"

namespace gantry::runner {
class RawTerminal;
}

namespace gantry::runner::vm {

constexpr size_t kMaxConsoleBytes = 16 * 1024 * 1024;  // in all; what says more does nothing else
constexpr size_t kConsoleTail = 4096;                  // of it that is kept
constexpr size_t kConsoleLines = 8;                    // that are shown

// What the console said at last, for people: without control bytes, one line after the other.
std::string LastLines(std::string_view console);

class GuestSession {
 public:
  struct Ends {
    UniqueFd channel;
    UniqueFd console;  // for reading
    int machine = -1;  // a pidfd
  };
  // Signals that a runner hands on must be blocked (attend.h). `failed` is called with what went wrong on the way to
  // the application, and may throw.
  GuestSession(Ends ends, const RunConfig& config, std::function<void(const Report&)> failed);
  ~GuestSession();

  // Until init says hello; false when a signal of the caller's ends it before: see ended_by().
  bool AwaitHello(int seconds);
  void SendBlob(FrameType type, std::string_view bytes);
  // Until the root is mounted; what its account files say.
  bool AwaitRoot(int seconds, AccountFiles& out);
  // Until the application is executed, or is not.
  bool AwaitStarted(int seconds);
  // Until it has ended; its wait status. All output is written, as far as somebody reads it.
  int Serve();

  int ended_by() const { return ended_by_; }

 private:
  enum class Stage { kBooting, kMounting, kStarting, kRunning };
  bool Until(const std::function<bool()>& done, int seconds, std::string_view what);
  void Turn(int milliseconds);
  void HandleFrame(const Frame& frame);
  void HandleEarly(const Frame& frame);
  void HandleSignals();
  void Send(FrameType type, uint16_t stream, std::string_view payload);
  void SendWindow();
  void ReadChannel();
  void WriteChannel();
  void ReadConsole();
  void ReadInput();
  void WriteOutput(int index);
  [[noreturn]] void Fail(std::string_view what);

  Ends ends_;
  const RunConfig& config_;
  UniqueFd signals_;
  std::unique_ptr<FrameReader> reader_;
  std::unique_ptr<RawTerminal> raw_;
  Stage stage_ = Stage::kBooting;
  bool hello_ = false, root_ = false, started_ = false;
  bool channel_open_ = true, console_open_ = true, input_open_ = false;
  std::function<void(const Report&)> failed_;
  AccountFiles accounts_;
  std::string outgoing_;
  std::string output_[2];
  bool output_open_[2] = {true, true};
  uint64_t credit_ = 0;
  std::string console_;
  uint64_t console_bytes_ = 0;
  std::optional<int> status_;
  int ended_by_ = 0;
};

}  // namespace gantry::runner::vm
