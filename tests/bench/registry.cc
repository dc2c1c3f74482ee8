// bench_registry: a registry that believes whatever is pushed and keeps none of it, so that only the client is
// measured. Prints HOST:PORT, and serves until it is killed. Every blob and manifest that it is asked for is absent.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr char kTlsHandshake = 0x16;  // RFC 8446, 5.1

// Reads one connection: heads whole, bodies only as far as they have to go away.
class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(fd_); }

  // The next line without its end; throws at the end of the connection.
  std::string Line() {
    size_t end = 0;
    while ((end = read_.find("\r\n")) == std::string::npos) Fill();
    std::string line = read_.substr(0, end);
    read_.erase(0, end + 2);
    return line;
  }

  void Discard(uint64_t bytes) {
    const size_t here = static_cast<size_t>(std::min<uint64_t>(bytes, read_.size()));
    read_.erase(0, here);
    bytes -= here;
    for (ssize_t n = 0; bytes > 0; bytes -= static_cast<uint64_t>(n)) {
      n = recv(fd_, nowhere_.data(), static_cast<size_t>(std::min<uint64_t>(bytes, nowhere_.size())), 0);
      if (n <= 0)
        throw std::runtime_error("the client is gone");
    }
  }

  void DiscardChunks() {
    while (const uint64_t size = std::stoull(Line(), nullptr, 16)) Discard(size + 2);
    Line();
  }

  void Send(std::string_view text) {
    if (send(fd_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("the client is gone");
  }

 private:
  void Fill() {
    std::array<char, 4096> bytes{};
    const ssize_t n = recv(fd_, bytes.data(), bytes.size(), 0);
    if (n <= 0)
      throw std::runtime_error("the client is gone");
    // A client that asks for TLS wants to know that there is none: it would wait for an answer.
    if (read_.empty() && bytes[0] == kTlsHandshake)
      throw std::runtime_error("no TLS here");
    read_.append(bytes.data(), static_cast<size_t>(n));
  }

  int fd_;
  std::string read_;
  std::vector<char> nowhere_ = std::vector<char>(256 * 1024);
};

std::string Answer(const std::string& method, const std::string& target, uint64_t got) {
  const auto with = [](const char* status, const std::string& headers) {
    return "HTTP/1.1 " + std::string(status) + "\r\n" + headers + "Content-Length: 0\r\n\r\n";
  };
  if (method == "POST" || method == "PATCH") {
    const std::string range = got > 0 ? "Range: 0-" + std::to_string(got - 1) + "\r\n" : "";
    return with("202 Accepted", "Location: " + target.substr(0, target.find("/uploads/")) +
                                    "/uploads/1?got=" + std::to_string(got) + "\r\n" + range);
  }
  if (method == "PUT") {
    const size_t hex = target.find("sha256%3A");
    return with("201 Created",
                hex == std::string::npos ? "" : "Docker-Content-Digest: sha256:" + target.substr(hex + 9, 64) + "\r\n");
  }
  return target == "/v2/" ? with("200 OK", "") : with("404 Not Found", "");
}

void ServeOne(Connection& connection) {
  const std::string first = connection.Line();
  const std::string method = first.substr(0, first.find(' '));
  const std::string target = first.substr(method.size() + 1, first.rfind(' ') - method.size() - 1);
  uint64_t length = 0;
  bool chunked = false;
  for (std::string line = connection.Line(); !line.empty(); line = connection.Line()) {
    if (strncasecmp(line.c_str(), "content-length:", 15) == 0)
      length = std::stoull(line.substr(15));
    if (strncasecmp(line.c_str(), "expect:", 7) == 0)
      connection.Send("HTTP/1.1 100 Continue\r\n\r\n");
    chunked = chunked || strncasecmp(line.c_str(), "transfer-encoding:", 18) == 0;
  }
  if (chunked)
    connection.DiscardChunks();
  else
    connection.Discard(length);
  // How much there is of an upload stands in its address.
  const size_t known = target.find("?got=");
  connection.Send(
      Answer(method, target, length + (known == std::string::npos ? 0 : std::stoull(target.substr(known + 5)))));
}

void Serve(int fd) {
  Connection connection(fd);
  try {
    while (true) ServeOne(connection);
  } catch (const std::exception&) {
    // So it ends.
  }
}

}  // namespace

int main() {
  signal(SIGPIPE, SIG_IGN);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof name;
  if (bind(listener, reinterpret_cast<sockaddr*>(&name), size) != 0 || listen(listener, 64) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size) != 0) {
    std::perror("bench_registry");
    return 1;
  }
  std::printf("127.0.0.1:%u\n", static_cast<unsigned>(ntohs(name.sin_port)));
  std::fflush(stdout);
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0)
      std::thread(Serve, fd).detach();
  }
}
