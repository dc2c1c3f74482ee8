#include "tools/run_services.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <string>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::tools {
namespace {

constexpr unsigned kMaxSockets = 128;
constexpr const char* kNotifyPlace = "/run/systemd/notify";

// Not one of our own at that number, which would be the app's then.
void TakeSocket(int fd) {
  const int flags = fcntl(fd, F_GETFD);
  if (flags < 0 || (flags & FD_CLOEXEC) != 0)
    throw Error(ErrorKind::kUsage, "LISTEN_FDS counts descriptor " + std::to_string(fd) + ", which is not open",
                "let it be what systemd sets, or unset it");
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

}  // namespace

void TakeServices(const PodOptions& options, runner::PodPlan& plan) {
  runner::RunConfig& first = plan.apps.front().config;
  const char* sockets = std::getenv("LISTEN_FDS");
  const char* for_whom = std::getenv("LISTEN_PID");
  if (sockets != nullptr && for_whom != nullptr && for_whom == std::to_string(getpid())) {
    first.sockets = std::min(ParseDecimal<unsigned>(sockets).value_or(0), kMaxSockets);
    for (int fd = 3; fd < 3 + static_cast<int>(first.sockets); ++fd) TakeSocket(fd);
  }
  const char* notify = std::getenv("NOTIFY_SOCKET");
  if (options.notify != "app" || notify == nullptr)
    return;
  if (*notify != '/')
    throw Error(ErrorKind::kUnsupported, "the notify socket " + Quoted(notify) + " has no name in the file system",
                "an app in a network of its own cannot reach it: give --sdnotify=runner");
  first.volumes.push_back({notify, kNotifyPlace});
  first.env.push_back(std::string("NOTIFY_SOCKET=") + kNotifyPlace);
}

void NotifyReady(const PodOptions& options) {
  const char* name = std::getenv("NOTIFY_SOCKET");
  if (options.notify != "runner" || name == nullptr || (*name != '/' && *name != '@'))
    return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = name;
  if (path.size() >= sizeof address.sun_path)
    return;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (*name == '@')
    address.sun_path[0] = '\0';
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::string text = "READY=1\nMAINPID=" + std::to_string(getpid());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (!socket || sendto(socket.get(), text.data(), text.size(), MSG_NOSIGNAL,
                        reinterpret_cast<const sockaddr*>(&address), size) < 0)
    Warn(options.common, "systemd does not hear that the pod runs: " + std::string(strerror(errno)));
}

}  // namespace gantry::tools
