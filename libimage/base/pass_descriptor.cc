// Without exceptions and allocation: children after fork and the init of virtual machines send, too.
#include "libimage/base/pass_descriptor.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace gantry {

bool PassDescriptor(int socket, int fd) {
  return PassDescriptors(socket, std::span(&fd, 1), std::string_view("\1", 1));
}

bool PassDescriptors(int socket, std::span<const int> fds, std::string_view text) {
  if (fds.empty() || fds.size() > kMaxPassedDescriptors) {
    errno = EINVAL;
    return false;
  }
  iovec data = {const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxPassedDescriptors * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  return sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

Arrival ReceiveWithDescriptor(int socket, std::span<std::byte> into) {
  iovec data = {into.data(), into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  Arrival out{-1, -1};
  do {
    out.size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (out.size < 0 && errno == EINTR);
  const cmsghdr* header = out.size < 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int)))
    std::memcpy(&out.fd, CMSG_DATA(header), sizeof out.fd);
  return out;
}

}  // namespace gantry
