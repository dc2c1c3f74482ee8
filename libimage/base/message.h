// What two processes of one program say to each other over a stream: a letter, and texts with their lengths before
// them.
//
// Both are the same binary, but one that reads hostile bytes may have become hostile itself: what it says has bounds,
// and whoever hears it checks it.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/error.h"

namespace gantry {

struct Message {
  char kind = 0;  // anything but kErrorMessage
  std::vector<std::string> fields;
};

// The kind that SendError sends.
constexpr char kErrorMessage = 'e';

// What is accepted of the other process.
struct MessageBounds {
  size_t fields;
  size_t bytes;          // of all fields
  std::string_view who;  // names the other process in errors: "the process that fetches"
};

void SendMessage(int fd, const Message& message);

// An error on its way to a process that waits for a message. One that is gone needs none.
void SendError(int fd, const Error& error) noexcept;

// The next message; nullopt at the end of the stream. Throws the Error that was sent instead of one; kFailed for what
// breaks the form or the bounds.
std::optional<Message> ReceiveMessage(int fd, const MessageBounds& bounds);

// The same for who cannot wait for one process, having others to hear: out of what has come of its stream so far.
class MessageBuffer {
 public:
  explicit MessageBuffer(const MessageBounds& bounds) : bounds_(bounds) {}
  // Takes what is there, without waiting; false at the end of the stream.
  bool Fill(int fd);
  // The next message that is whole. Throws as ReceiveMessage; one that did not come to its end stays for ever.
  std::optional<Message> Next();

 private:
  MessageBounds bounds_;
  std::string bytes_;
};

// For the body of a child: runs `work`, and sends the Error that leaves it. The child's exit code: 0, or the error's
// kind.
int ReportErrors(int fd, const std::function<void()>& work);

}  // namespace gantry
