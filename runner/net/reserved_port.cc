#include "runner/net/reserved_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "libimage/base/error.h"

namespace gantry::runner {

UniqueFd ReservePort(const PublishedPort& port) {
  const int type = port.udp ? SOCK_DGRAM : SOCK_STREAM;
  UniqueFd out(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port.host_port);
  address.sin_addr.s_addr = htonl(port.host_address);
  if (out && (port.udp || setsockopt(out.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0) &&
      bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      (port.udp || listen(out.get(), 1) == 0))
    return out;
  const int error = errno;
  const std::string what = "port " + std::to_string(port.host_port) + " of the host";
  if (error == EADDRINUSE)
    throw Error(ErrorKind::kFailed, what + " is in use", "choose another with --publish");
  if (error == EADDRNOTAVAIL)
    throw Error(ErrorKind::kFailed, "publish " + port.ToString() + ": this host has no such address",
                "give one of those that 'ip address' shows, or none");
  if (error == EACCES)
    throw Error(ErrorKind::kFailed, what + " is only for root", "choose one from 1024 on with --publish");
  ThrowErrno("publish " + port.ToString(), error);
}

}  // namespace gantry::runner
