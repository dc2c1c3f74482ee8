// The guest's end of the conversation of vm/frame.h, and the way out of the machine.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "runner/vm/frame.h"

namespace gantry::runner::guest {

using vm::Frame;
using vm::FrameType;

class Channel {
 public:
  // Finds the port and waits until the host has opened its end.
  void Open();

  int fd() const { return fd_; }

  // Queues a frame; waits for room if it must. Large frames are for those who looked at room() first.
  void Send(FrameType type, uint8_t stream, const void* payload, size_t size, uint16_t process = 0);

  size_t room() const { return sizeof out_ - out_end_; }
  bool wants_to_write() const { return out_end_ > 0; }
  void Write();  // as much as the host takes now
  void Flush();  // all; waits

  // Reads what is there; false when the host is gone.
  bool Read();
  // The next frame of what was read. A host that breaks the protocol is the end.
  bool Next(Frame& out);

 private:
  int fd_ = -1;
  size_t out_end_ = 0;
  char out_[4 * (sizeof(vm::FrameHeader) + vm::kMaxFrameBytes)];
  vm::FrameReader reader_{vm::HostMaySend};
};

Channel& TheChannel();

// Says kProblem and ends the machine: `what` failed with `error` (0: `what` says it all). `image`: by the image's
// fault.
[[noreturn]] void GiveUp(const char* what, int error, bool image = false);

// Ends the machine at once.
[[noreturn]] void PowerOff();

}  // namespace gantry::runner::guest
