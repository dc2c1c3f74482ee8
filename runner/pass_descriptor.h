// Hands an open descriptor to the process at the other end of a socket.
#pragma once

namespace gantry::runner {

// Sends one byte with a duplicate of `fd`, which stays open here. False and errno when it could not be sent; EPIPE,
// never a signal, when the other end is gone.
bool PassDescriptor(int socket, int fd);

}  // namespace gantry::runner
