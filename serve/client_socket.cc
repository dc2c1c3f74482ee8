#include "serve/client_socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "libimage/base/error.h"

namespace gantry::serve {
namespace {

// As much as a TLS record holds.
constexpr size_t kHeldBytes = 16 * 1024;
constexpr ssize_t kLingerBytes = 8 * 1024 * 1024;

void SetTimeout(int fd, int option, std::chrono::seconds time) {
  const timeval value{.tv_sec = time.count(), .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}

}  // namespace

// --- TLS ---

class TlsIdentity::Context {
 public:
  Context(const std::string& certificate, const std::string& key) : context_(SSL_CTX_new(TLS_server_method())) {
    if (!context_ || SSL_CTX_use_certificate_chain_file(context_.get(), certificate.c_str()) != 1)
      throw Error(ErrorKind::kUsage, "cannot read a certificate from " + Quoted(certificate));
    if (SSL_CTX_use_PrivateKey_file(context_.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context_.get()) != 1)
      throw Error(ErrorKind::kUsage, "cannot read the private key of that certificate from " + Quoted(key));
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(context_.get(), SSL_OP_NO_RENEGOTIATION);
  }

  SSL* NewConnection() const { return SSL_new(context_.get()); }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
};

TlsIdentity::TlsIdentity(std::string certificate, std::string key)
    : certificate_(std::move(certificate)),
      key_(std::move(key)),
      context_(std::make_shared<const Context>(certificate_, key_)) {}

void TlsIdentity::Reload() {
  auto fresh = std::make_shared<const Context>(certificate_, key_);
  const std::lock_guard lock(mutex_);
  context_ = std::move(fresh);
}

std::shared_ptr<const TlsIdentity::Context> TlsIdentity::Load() const {
  const std::lock_guard lock(mutex_);
  return context_;
}

class ClientSocket::Tls {
 public:
  Tls(SSL* connection, int fd) : connection_(connection) {
    if (!connection_ || SSL_set_fd(connection, fd) != 1)
      throw Error(ErrorKind::kFailed, "cannot begin TLS");
  }

  // Until `step` is through, which returns as OpenSSL's functions do. False when the connection is over, or `wait`,
  // which is told what to wait for, says that the time is.
  bool Do(const std::function<int(SSL*)>& step, const std::function<bool(short events)>& wait) {
    while (true) {
      ERR_clear_error();
      const int got = step(connection_.get());
      if (got > 0)
        return true;
      const int why = SSL_get_error(connection_.get(), got);
      const auto events = static_cast<short>(why == SSL_ERROR_WANT_READ    ? POLLIN
                                             : why == SSL_ERROR_WANT_WRITE ? POLLOUT
                                                                           : 0);
      if (events == 0 || !wait(events))
        return false;
    }
  }

  // Tells the client that this is the end and no cut; once.
  void End() {
    ERR_clear_error();
    if ((SSL_get_shutdown(connection_.get()) & SSL_SENT_SHUTDOWN) == 0)
      SSL_shutdown(connection_.get());
  }

 private:
  struct Free {
    void operator()(SSL* connection) const { SSL_free(connection); }
  };
  std::unique_ptr<SSL, Free> connection_;
};

// --- The connection ---

ClientSocket::ClientSocket(UniqueFd fd, const Limits& limits) : fd_(std::move(fd)), limits_(limits) {
  SetTimeout(fd_.get(), SO_RCVTIMEO, limits_.idle);
  SetTimeout(fd_.get(), SO_SNDTIMEO, limits_.stall);
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (getpeername(fd_.get(), reinterpret_cast<sockaddr*>(&from), &size) == 0 &&
      getnameinfo(reinterpret_cast<const sockaddr*>(&from), size, host.data(), host.size(), port.data(), port.size(),
                  NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
    address_ = host.data();
    port_ = std::atoi(port.data());
  }
}

ClientSocket::~ClientSocket() {
  if (tls_)
    tls_->End();
  shutdown(fd_.get(), SHUT_RDWR);
}

bool ClientSocket::WaitFor(short events, Clock::time_point deadline) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd poll{fd_.get(), events, 0};
  return left > 0 && ::poll(&poll, 1, static_cast<int>(left)) > 0;
}

// Without blocking from here on, for a client that sends its part of a record byte by byte would have a new time limit
// with each.
bool ClientSocket::BeginTls(const TlsIdentity& identity) {
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  auto tls = std::make_unique<Tls>(identity.Load()->NewConnection(), fd_.get());
  const auto deadline = Clock::now() + limits_.stall;
  if (!tls->Do(SSL_accept, [&](short events) { return WaitFor(events, deadline); }))
    return false;
  tls_ = std::move(tls);
  return true;
}

bool ClientSocket::Fill(Clock::time_point deadline) {
  begin_ = end_ = 0;
  if (tls_) {
    return tls_->Do([this](SSL* tls) { return SSL_read_ex(tls, in_.data(), in_.size(), &end_); },
                    [&](short events) { return WaitFor(events, deadline); });
  }
  // At the time between requests the socket itself looks, which saves a call for each.
  ssize_t got = 0;
  while ((got = recv(fd_.get(), in_.data(), in_.size(), 0)) < 0 && errno == EINTR) continue;
  end_ = got > 0 ? static_cast<size_t>(got) : 0;
  return end_ > 0;
}

bool ClientSocket::WaitForRequest() {
  const bool begins = begin_ < end_ || Fill(Clock::now() + limits_.idle);
  deadline_ = Clock::now() + limits_.stall;
  room_ = kMaxRequestBytes;
  return begins;
}

size_t ClientSocket::Read(std::span<std::byte> into) {
  if (begin_ == end_ && !((tls_ || WaitFor(POLLIN, deadline_)) && Fill(deadline_)))
    return 0;
  const size_t count = std::min({into.size(), end_ - begin_, room_});
  std::memcpy(into.data(), in_.data() + begin_, count);
  begin_ += count;
  room_ -= count;
  return count;
}

bool ClientSocket::Write(std::span<const std::byte> bytes) {
  if (bytes.size() > kHeldBytes - std::min(out_.size(), kHeldBytes))
    return Send(bytes);
  out_ += AsText(bytes);
  return true;
}

bool ClientSocket::Flush() { return out_.empty() || Send({}); }

// What was kept back, and then `more`.
bool ClientSocket::Send(std::span<const std::byte> more) {
  const std::string held = std::exchange(out_, {});
  if (tls_)
    return SendByTls(AsBytes(held)) && SendByTls(more);
  std::array<iovec, 2> parts{iovec{const_cast<char*>(held.data()), held.size()},
                             iovec{const_cast<std::byte*>(more.data()), more.size()}};
  for (size_t left = held.size() + more.size(); left > 0;) {
    const msghdr message{.msg_iov = parts.data(), .msg_iovlen = parts.size()};
    const ssize_t sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent <= 0)
      return false;
    left -= static_cast<size_t>(sent);
    size_t gone = static_cast<size_t>(sent);
    for (iovec& part : parts) {
      const size_t of_this = std::min(gone, part.iov_len);
      part.iov_base = static_cast<char*>(part.iov_base) + of_this;
      part.iov_len -= of_this;
      gone -= of_this;
    }
  }
  return true;
}

bool ClientSocket::SendByTls(std::span<const std::byte> bytes) {
  size_t sent = 0;
  return bytes.empty() || tls_->Do([&](SSL* tls) { return SSL_write_ex(tls, bytes.data(), bytes.size(), &sent); },
                                   [this](short events) { return WaitFor(events, Clock::now() + limits_.stall); });
}

void ClientSocket::Linger() {
  Flush();
  if (tls_)
    tls_->End();
  shutdown(fd_.get(), SHUT_WR);
  const auto deadline = Clock::now() + limits_.stall;
  ssize_t got = 1;
  for (ssize_t room = kLingerBytes; got > 0 && room > 0 && WaitFor(POLLIN, deadline); room -= got)
    got = recv(fd_.get(), in_.data(), in_.size(), MSG_DONTWAIT);
}

bool ClientSocket::IsGone() const {
  pollfd poll{fd_.get(), POLLRDHUP, 0};
  return ::poll(&poll, 1, 0) > 0;
}

}  // namespace gantry::serve
