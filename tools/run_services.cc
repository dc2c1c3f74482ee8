#include "tools/run_services.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "runner/notify_relay.h"

namespace gantry::tools {
namespace {

constexpr unsigned kMaxSockets = 128;

// systemd's, or empty where we are no service that speaks to it.
std::string NotifySocket() {
  const char* name = std::getenv("NOTIFY_SOCKET");
  return name != nullptr && (*name == '/' || *name == '@') ? name : "";
}

// Not one of our own at that number, which would be the app's then.
void TakeSocket(int fd) {
  const int flags = fcntl(fd, F_GETFD);
  if (flags < 0 || (flags & FD_CLOEXEC) != 0)
    throw Error(ErrorKind::kUsage, "LISTEN_FDS counts descriptor " + std::to_string(fd) + ", which is not open",
                "let it be what systemd sets, or unset it");
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

}  // namespace

unsigned TakeSockets() {
  const char* sockets = std::getenv("LISTEN_FDS");
  const char* for_whom = std::getenv("LISTEN_PID");
  if (sockets == nullptr || for_whom == nullptr || for_whom != std::to_string(getpid()))
    return 0;
  const auto count = ParseDecimal<unsigned>(sockets);
  if (!count || *count > kMaxSockets)
    throw Error(ErrorKind::kUsage, "LISTEN_FDS is " + Quoted(sockets),
                "let it be what systemd sets, at most " + std::to_string(kMaxSockets) + ", or unset it");
  for (int fd = 3; fd < 3 + static_cast<int>(*count); ++fd) TakeSocket(fd);
  return *count;
}

void TakeServices(const PodOptions& options, unsigned sockets, runner::PodPlan& plan) {
  runner::RunConfig& first = plan.apps.front().config;
  first.sockets = sockets;
  if (const char* names = std::getenv("LISTEN_FDNAMES"); names != nullptr && sockets > 0)
    first.env.push_back(std::string("LISTEN_FDNAMES=") + names);
  if (RelayTo(options).empty())
    return;
  if (first.terminal && !options.detach)
    throw Error(ErrorKind::kUsage, "an app that speaks to systemd has no terminal of ours", "leave --tty out");
  first.volumes.push_back(runner::NotifyVolume());
  first.env.push_back(std::string("NOTIFY_SOCKET=") + runner::kNotifyPlace);
  if (const char* watched = std::getenv("WATCHDOG_USEC"); watched != nullptr)
    first.env.push_back(std::string("WATCHDOG_USEC=") + watched);
}

std::string RelayTo(const PodOptions& options) { return options.notify == "app" ? NotifySocket() : ""; }

void RefuseServices(const PodOptions& options) {
  if (TakeSockets() > 0 || !RelayTo(options).empty())
    throw Error(ErrorKind::kUnsupported, "a prepared pod gets no sockets of a service, and no notify socket",
                "give the images to gantry run, not to gantry run prepare");
}

void NotifyReady(const PodOptions& options) {
  const std::string to = NotifySocket();
  if (options.notify != "runner" || to.empty())
    return;
  if (!runner::Notify(to, runner::RelayedMessages("READY=1", getpid()).front()))
    Warn(options.common, "systemd does not hear that the pod runs: " + std::string(strerror(errno)));
  if (std::getenv("WATCHDOG_USEC") != nullptr)
    Warn(options.common, "nobody answers the watchdog of this service: leave WatchdogSec= out, or give --sdnotify=app");
}

}  // namespace gantry::tools
