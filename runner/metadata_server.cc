#include "runner/metadata_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <map>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/pass_descriptor.h"
#include "libimage/confine/confine.h"
#include "runner/event_loop.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxClients = 32;
constexpr int64_t kRequestTime = 5000;  // milliseconds
constexpr timeval kSendTime = {2, 0};

class Service {
 public:
  Service(const PodMetadata& metadata, UniqueFd listener, int runner)
      : metadata_(metadata), listener_(std::move(listener)) {
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
    loop_.Watch(runner, [this] { ended_ = true; });
    loop_.Watch(listener_.get(), [this] { Accept(); });
  }

  void Run() {
    loop_.Run([this] { return ended_; });
  }

 private:
  struct Client {
    UniqueFd socket;
    std::string received;
    uint64_t timer = 0;
  };

  void Accept() {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket || clients_.size() >= kMaxClients)
      return;
    setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTime, sizeof kSendTime);
    const int fd = socket.get();
    Client& client = clients_[fd];
    client.socket = std::move(socket);
    client.timer = loop_.After(kRequestTime, [this, fd] { Drop(fd); });
    loop_.Watch(fd, [this, fd] { Hear(fd); });
  }

  void Hear(int fd) {
    Client& client = clients_.at(fd);
    std::array<char, 16 * 1024> buffer{};
    const ssize_t size = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    if (size > 0)
      client.received.append(buffer.data(), static_cast<size_t>(size));
    const auto answer = AnswerRequest(metadata_, client.received);
    if (size > 0 && !answer)
      return;
    if (answer)
      Send(fd, *answer);
    Drop(fd);
  }

  static void Send(int fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t size = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (size <= 0)
        return;  // gone, or it reads nothing
      text.remove_prefix(static_cast<size_t>(size));
    }
    shutdown(fd, SHUT_WR);
  }

  void Drop(int fd) {
    loop_.Forget(fd);
    loop_.Cancel(clients_.at(fd).timer);
    clients_.erase(fd);
  }

  const PodMetadata& metadata_;
  EventLoop loop_;
  UniqueFd listener_;
  std::map<int, Client> clients_;
  bool ended_ = false;
};

int Serve(const PodMetadata& metadata, int runner) {
  setsid();
  prctl(PR_SET_NAME, "gantry-metadata");
  // What the caller waits for the end of is not ours to hold.
  const UniqueFd null = OpenFile("/dev/null", O_RDWR);
  for (int fd = 0; fd <= 2; ++fd) dup2(null.get(), fd);
  UniqueFd listener = ReceiveDescriptor(runner, "the runner");
  image::Confinement nothing;
  nothing.unix_sockets = false;
  image::Confine(nothing);
  Service(metadata, std::move(listener), runner).Run();
  return 0;
}

}  // namespace

MetadataServer MetadataServer::Start(const PodMetadata& metadata, const UniqueFd& listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0)
    ThrowErrno("find the address of the metadata service");
  auto [channel, process] = ForkOverSocket([&](int runner) { return Serve(metadata, runner); });
  if (!PassDescriptor(channel.get(), listener.get()))
    ThrowErrno("start the metadata service");
  return {"http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/" + metadata.token, std::move(channel),
          std::move(process)};
}

}  // namespace gantry::runner
