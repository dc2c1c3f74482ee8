#include <array>
#include <string>

#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"

namespace gantry {

UniqueFd ReceiveDescriptor(int socket, std::string_view who) {
  std::array<std::byte, 1> byte{};
  const Arrival arrival = ReceiveWithDescriptor(socket, byte);
  UniqueFd fd(arrival.fd);
  if (arrival.size != 1 || !fd)
    throw Error(ErrorKind::kFailed, std::string(who) + " sent no descriptor where one was expected");
  return fd;
}

}  // namespace gantry
