// The connection of one client, with or without TLS. Hides how its bytes come and go: it reads ahead, keeps back what
// is written until more of it would not make the packets fewer, and is done with a client that takes too long. Owns
// OpenSSL's connections.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "libimage/base/fd.h"

namespace gantry::serve {

constexpr size_t kMaxRequestBytes = 64 * 1024;  // line and headers

// A certificate and its private key, which may be exchanged while connections are made. Thread-safe.
class TlsIdentity {
 public:
  // PEM files, the certificate with those above it. kUsage for what is no such pair.
  TlsIdentity(std::string certificate, std::string key);
  // Reads them again, for connections from now on. As the constructor; what was stays when it throws.
  void Reload();

 private:
  friend class ClientSocket;
  class Context;
  std::shared_ptr<const Context> Load() const;

  std::string certificate_, key_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Context> context_;
};

// For one thread.
class ClientSocket {
 public:
  struct Limits {
    std::chrono::seconds idle{30};   // between requests
    std::chrono::seconds stall{60};  // for a request to come, and for a client that takes nothing
  };

  ClientSocket(UniqueFd fd, const Limits& limits);
  ClientSocket(const ClientSocket&) = delete;
  ClientSocket& operator=(const ClientSocket&) = delete;
  ~ClientSocket();

  // False for a client that cannot agree with us, or not in time.
  bool BeginTls(const TlsIdentity& identity);

  // Whether a request begins, within the idle time. From now on it has to come.
  bool WaitForRequest();
  // What there is of it, at least a byte; 0 when no more comes, or not in time, or for more than kMaxRequestBytes.
  size_t Read(std::span<std::byte> into);

  // Takes all of `bytes`. False when they, or some before them, are lost.
  bool Write(std::span<const std::byte> bytes);
  // Sends what was kept back.
  bool Flush();

  // The end, for a client that may be sending still: nothing more goes out, and what comes is thrown away, for the
  // stall time and some megabytes at most. Who is cut off while it sends may never see what it was told (RFC
  // 9112, 9.6).
  void Linger();

  // Whether the client wants no more: it has closed its side.
  bool IsGone() const;

  const std::string& address() const { return address_; }
  int port() const { return port_; }

 private:
  class Tls;
  using Clock = std::chrono::steady_clock;

  bool WaitFor(short events, Clock::time_point deadline) const;
  bool Fill(Clock::time_point deadline);
  bool Send(std::span<const std::byte> more);
  bool SendByTls(std::span<const std::byte> bytes);

  UniqueFd fd_;
  Limits limits_;
  std::unique_ptr<Tls> tls_;
  std::string address_;
  int port_ = 0;
  Clock::time_point deadline_ = {};  // of the request that comes
  size_t room_ = 0;                  // for the rest of it
  std::array<std::byte, 8192> in_;
  size_t begin_ = 0, end_ = 0;  // of what was read ahead
  std::string out_;             // what is kept back
};

}  // namespace gantry::serve
