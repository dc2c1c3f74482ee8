#include "runner/notify_relay.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"
#include "runner/named_socket.h"

namespace gantry::runner {
namespace {

constexpr const char* kVolume = ".notify";  // no name that a user can give to one
constexpr timeval kPatience = {1, 0};       // for a systemd that is busy
constexpr int kMostLastWords = 1024;        // twice what systemd has the kernel keep for a socket

// None, and errno, when nobody hears there.
UniqueFd ConnectTo(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return {};
  }
  name.copy(address.sun_path, sizeof address.sun_path - 1);
  if (name.starts_with('@'))
    address.sun_path[0] = '\0';
  UniqueFd out(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  if (!out || setsockopt(out.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience) < 0 ||
      connect(out.get(), reinterpret_cast<const sockaddr*>(&address), size) < 0)
    return {};
  return out;
}

// The descriptors of a message, which are ours from now on.
std::vector<UniqueFd> DescriptorsOf(msghdr& message) {
  std::vector<UniqueFd> out;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
      continue;
    for (size_t at = 0; at + sizeof(int) <= header->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
      out.emplace_back(fd);
    }
  }
  return out;
}

}  // namespace

Volume NotifyVolume() {
  const std::string place = kNotifyPlace;
  return {
      .source = kVolume, .target = place.substr(0, place.rfind('/')), .read_only = true, .kind = Volume::Kind::kEmpty};
}

bool IsNotifyVolume(const Volume& volume) { return volume.kind == Volume::Kind::kEmpty && volume.source == kVolume; }

NotifyRelay NotifyRelay::Open(const Dir& pod, const std::string& to) {
  UniqueFd heard = ConnectTo(to);
  if (!heard)
    ThrowErrno("reach the notify socket " + Quoted(to));
  const std::string place = kNotifyPlace;
  const Dir directory = pod.OpenDir(RelPath::Parse(std::string("volumes/") + kVolume));
  const std::string name = place.substr(place.rfind('/') + 1);
  UniqueFd from = BindIn(directory, name, SOCK_DGRAM | SOCK_NONBLOCK);
  // Whoever the app runs as.
  if (fchmodat(directory.fd(), name.c_str(), 0666, 0) < 0)
    ThrowErrno("open the notify socket of the pod to its app");
  return {std::move(from), std::move(heard)};
}

bool Notify(const std::string& to, std::string_view message) {
  const UniqueFd heard = ConnectTo(to);
  return heard && send(heard.get(), message.data(), message.size(), MSG_NOSIGNAL) >= 0;
}

void NotifyRelay::PassLastWords() {
  for (int i = 0; i < kMostLastWords && PassOne(); ++i) {
  }
}

bool NotifyRelay::PassOne() {
  std::array<char, kMaxNotifyBytes> text{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxPassedDescriptors * sizeof(int))> control{};
  iovec data = {text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = recvmsg(from_.get(), &message, MSG_CMSG_CLOEXEC);
  if (size < 0)
    return errno == EINTR;
  const std::vector<UniqueFd> descriptors = DescriptorsOf(message);
  // Half a message would say something else.
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return true;
  const std::vector<std::string> relayed = RelayedMessages({text.data(), static_cast<size_t>(size)}, getpid());
  std::vector<int> fds;
  for (const UniqueFd& one : descriptors) fds.push_back(one.get());
  // That nobody hears it is no reason to end an app.
  for (const std::string& one : relayed) {
    const bool last = &one == &relayed.back();
    if (!(last && !fds.empty() ? PassDescriptors(to_.get(), fds, one)
                               : send(to_.get(), one.data(), one.size(), MSG_NOSIGNAL) >= 0))
      return false;
  }
  return true;
}

std::vector<std::string> RelayedMessages(std::string_view message, pid_t main) {
  constexpr std::string_view kNotForApps[] = {"MAINPID=", "MAINPIDFD=", "MAINPIDFDID=", "NOTIFYACCESS="};
  std::string out;
  bool ready = false;
  while (!message.empty()) {
    const std::string_view line = message.substr(0, message.find('\n'));
    message.remove_prefix(std::min(message.size(), line.size() + 1));
    if (line.empty() || std::ranges::any_of(kNotForApps, [&](std::string_view key) { return line.starts_with(key); }))
      continue;
    ready = ready || line == "READY=1";
    out += (out.empty() ? "" : "\n") + std::string(line);
  }
  const std::string main_process = "MAINPID=" + std::to_string(main);
  if (out.empty())
    return {};
  if (!ready)
    return {out};
  if (out.size() + 1 + main_process.size() > kMaxNotifyBytes)
    return {main_process, out};
  return {out + "\n" + main_process};
}

}  // namespace gantry::runner
