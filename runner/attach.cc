#include "runner/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "runner/named_socket.h"
#include "runner/raw_terminal.h"

namespace gantry::runner {
namespace {

constexpr const char* kSocket = "attach";

bool SendPacket(int socket, AttachPacket kind, std::string_view bytes, int flags) {
  std::string packet(1, static_cast<char>(kind));
  packet += bytes;
  return send(socket, packet.data(), packet.size(), MSG_NOSIGNAL | flags) == static_cast<ssize_t>(packet.size());
}

void SendSize(int socket) {
  winsize size{};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
    return;
  const std::array<uint16_t, 2> both = {size.ws_row, size.ws_col};
  SendPacket(socket, AttachPacket::kSize, {reinterpret_cast<const char*>(both.data()), sizeof both}, 0);
}

// What the caller typed; false when it is to be the end of it.
class Typed {
 public:
  Typed(int socket, std::string keys) : socket_(socket), keys_(std::move(keys)) {}

  // True when the keys to detach were among it.
  bool Forward() {
    std::array<char, 4096> buffer{};
    const ssize_t size = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
      return false;
    if (size <= 0) {
      open_ = false;
      SendPacket(socket_, AttachPacket::kEndOfInput, {}, 0);
      return false;
    }
    const std::string_view text(buffer.data(), static_cast<size_t>(size));
    const size_t keys = keys_.empty() ? std::string_view::npos : (last_ + std::string(text)).find(keys_);
    if (keys != std::string_view::npos)
      return true;
    last_ = text.substr(text.size() - std::min(text.size(), keys_.empty() ? 0 : keys_.size() - 1));
    SendPacket(socket_, AttachPacket::kInput, text, 0);
    return false;
  }
  bool open() const { return open_; }

 private:
  int socket_;
  std::string keys_, last_;
  bool open_ = true;
};

void Show(AttachPacket kind, std::string_view bytes) {
  const int fd = kind == AttachPacket::kOutput ? STDOUT_FILENO : STDERR_FILENO;
  WriteFull(fd, AsBytes(bytes), "the output");
}

}  // namespace

AttachServer::AttachServer(const Dir& dir, EventLoop& loop)
    : dir_(dir), loop_(loop), listener_(ListenIn(dir, kSocket, SOCK_SEQPACKET | SOCK_NONBLOCK)) {
  loop_.Watch(listener_.get(), [this] { Accept(); });
}

AttachServer::~AttachServer() {
  loop_.Forget(listener_.get());
  for (const auto& [fd, client] : clients_) loop_.Forget(fd);
  unlinkat(dir_.fd(), kSocket, 0);
}

void AttachServer::Accept() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket || clients_.size() >= kMaxAttached)
    return;
  const int fd = socket.get();
  clients_.emplace(fd, Client{std::move(socket), {}});
  loop_.Watch(fd, [this, fd] { Hear(fd); });
}

void AttachServer::Drop(int fd) {
  loop_.Forget(fd);
  clients_.erase(fd);
}

void AttachServer::Hear(int fd) {
  std::array<char, kMaxAttachPacket + 1> packet{};
  const ssize_t size = recv(fd, packet.data(), packet.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (size <= 0) {
    Drop(fd);
    return;
  }
  Client& client = clients_.at(fd);
  const auto kind = static_cast<AttachPacket>(packet[0]);
  const std::string_view bytes(packet.data() + 1, static_cast<size_t>(size) - 1);
  if (client.app.empty()) {
    if (kind != AttachPacket::kHello || !apps_.contains(std::string(bytes)))
      Drop(fd);
    else
      client.app = bytes;
    return;
  }
  const App& app = apps_.at(client.app);
  std::array<uint16_t, 2> both{};
  if (kind == AttachPacket::kInput && app.input)
    app.input(bytes);
  else if (kind == AttachPacket::kEndOfInput && app.end_of_input)
    app.end_of_input();
  else if (kind == AttachPacket::kSize && app.resize && bytes.size() == sizeof both) {
    std::memcpy(both.data(), bytes.data(), sizeof both);
    app.resize(both[0], both[1]);
  }
}

void AttachServer::SendAll(const std::string& app, const std::string& packet) {
  std::vector<int> lost;
  for (const auto& [fd, client] : clients_) {
    if (client.app == app && send(fd, packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
      lost.push_back(fd);
  }
  for (const int fd : lost) Drop(fd);
}

void AttachServer::Output(const std::string& app, Stream stream, std::string_view bytes) {
  const AttachPacket kind = stream == Stream::kOutput ? AttachPacket::kOutput : AttachPacket::kError;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kMaxAttachPacket)))
    SendAll(app, static_cast<char>(kind) + std::string(bytes.substr(0, kMaxAttachPacket)));
}

void AttachServer::Exited(const std::string& app, int code) {
  SendAll(app, static_cast<char>(AttachPacket::kExit) + std::to_string(code));
}

ExitStatus Attach(const Dir& pod, const AttachOptions& options) {
  const UniqueFd socket = ConnectIn(pod, kSocket, SOCK_SEQPACKET);
  if (!socket || !SendPacket(socket.get(), AttachPacket::kHello, options.app, 0))
    throw Error(ErrorKind::kNotFound, "nobody serves the streams of the pod",
                "only a pod that was started with --detach can be attached to, while it runs");
  sigset_t resized;
  sigemptyset(&resized);
  sigaddset(&resized, SIGWINCH);
  sigprocmask(SIG_BLOCK, &resized, nullptr);
  const UniqueFd signals(signalfd(-1, &resized, SFD_CLOEXEC | SFD_NONBLOCK));
  std::optional<RawTerminal> raw;
  if (options.terminal && options.input)
    raw.emplace();
  if (options.terminal)
    SendSize(socket.get());
  Typed typed(socket.get(), options.terminal ? options.detach_keys : "");
  std::array<char, kMaxAttachPacket + 1> packet{};
  for (;;) {
    std::array<pollfd, 3> waiting = {{{socket.get(), POLLIN, 0},
                                      {signals.get(), POLLIN, 0},
                                      {options.input && typed.open() ? STDIN_FILENO : -1, POLLIN, 0}}};
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR)
      ThrowErrno("poll");
    signalfd_siginfo signal{};
    while (waiting[1].revents != 0 && read(signals.get(), &signal, sizeof signal) == sizeof signal)
      SendSize(socket.get());
    if (waiting[2].revents != 0 && typed.Forward())
      return {};
    if (waiting[0].revents == 0)
      continue;
    const ssize_t size = recv(socket.get(), packet.data(), packet.size(), 0);
    if (size <= 0)
      throw Error(ErrorKind::kFailed, "the pod's runner let us go", "see 'gantry run status' and 'gantry run logs'");
    const auto kind = static_cast<AttachPacket>(packet[0]);
    const std::string_view bytes(packet.data() + 1, static_cast<size_t>(size) - 1);
    if (kind == AttachPacket::kExit)
      return {ParseDecimal<int>(bytes).value_or(1), false};
    Show(kind, bytes);
  }
}

}  // namespace gantry::runner
