#include "runner/named_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr int kBacklog = 16;

sockaddr_un Address(const Dir& dir, const std::string& name) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  const std::string text = "/proc/self/fd/" + std::to_string(dir.fd()) + "/" + name;
  text.copy(out.sun_path, sizeof out.sun_path - 1);
  return out;
}

}  // namespace

UniqueFd BindIn(const Dir& dir, const std::string& name, int type) {
  UniqueFd out(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un address = Address(dir, name);
  dir.RemoveFile(RelPath::Parse(name));
  if (!out || bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    ThrowErrno("make the socket " + dir.name() + "/" + name);
  return out;
}

UniqueFd ListenIn(const Dir& dir, const std::string& name, int type) {
  UniqueFd out = BindIn(dir, name, type);
  if (listen(out.get(), kBacklog) < 0)
    ThrowErrno("listen at the socket " + dir.name() + "/" + name);
  return out;
}

UniqueFd ConnectIn(const Dir& dir, const std::string& name, int type) {
  UniqueFd out(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un address = Address(dir, name);
  if (!out || connect(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return {};
  return out;
}

}  // namespace gantry::runner
