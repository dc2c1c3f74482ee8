// Hands open descriptors to the process at the other end of a socket.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "libimage/base/fd.h"

namespace gantry {

// Sends one byte with a duplicate of `fd`, which stays open here. False and errno when it could not be sent; EPIPE,
// never a signal, when the other end is gone.
bool PassDescriptor(int socket, int fd);

constexpr size_t kMaxPassedDescriptors = 253;  // the kernel's limit for one message

// The same with several, at least one and at most that many, beside a text of at least one byte.
bool PassDescriptors(int socket, std::span<const int> fds, std::string_view text);

// What recvmsg(2) gave: the size of the message, or below 0 and errno; and the descriptor that came with it,
// close-on-exec and the caller's, -1 where none did.
struct Arrival {
  ssize_t size;
  int fd;
};
Arrival ReceiveWithDescriptor(int socket, std::span<std::byte> into);

// Receives what PassDescriptor sent, close-on-exec. kFailed when something else came, or nothing; `who` names the other
// process in errors.
UniqueFd ReceiveDescriptor(int socket, std::string_view who);

}  // namespace gantry
