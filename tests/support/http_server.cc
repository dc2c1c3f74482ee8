#include "tests/support/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace gantry::testing {
namespace {

constexpr size_t kMaxHeadBytes = 1024 * 1024;
constexpr size_t kMaxBodyBytes = 256 * 1024 * 1024;

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return tolower(c); });
  return text;
}

SeenRequest ParseHead(const std::string& head) {
  SeenRequest request;
  const size_t line_end = head.find("\r\n");
  const std::string line = head.substr(0, line_end);
  const size_t space = line.find(' ');
  request.method = line.substr(0, space);
  request.target = line.substr(space + 1, line.rfind(' ') - space - 1);
  for (size_t begin = line_end + 2; begin < head.size();) {
    const size_t end = std::min(head.find("\r\n", begin), head.size());
    const std::string header = head.substr(begin, end - begin);
    const size_t colon = header.find(':');
    if (colon != std::string::npos) {
      const size_t value = header.find_first_not_of(' ', colon + 1);
      request.headers[Lower(header.substr(0, colon))] = value == std::string::npos ? "" : header.substr(value);
    }
    begin = end + 2;
  }
  return request;
}

void Check(bool good, const char* what) {
  if (!good)
    throw std::runtime_error(std::string("test http server: ") + what);
}

std::string PemOf(const std::function<int(BIO*)>& write) {
  BIO* bio = BIO_new(BIO_s_mem());
  Check(bio != nullptr && write(bio) == 1, "pem");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

// One accepted connection, plain or TLS.
class Connection : public Exchange {
 public:
  Connection(int fd, SSL* ssl) : fd_(fd), ssl_(ssl) {}
  ~Connection() override { SSL_free(ssl_); }
  bool Handshake() { return ssl_ == nullptr || (SSL_set_fd(ssl_, fd_) == 1 && SSL_accept(ssl_) == 1); }
  bool dropped() const { return dropped_; }

  // Empty at the end. A TLS hello on a plain connection ends it as real servers do.
  std::string ReadHead() {
    while (true) {
      const size_t end = buffer_.find("\r\n\r\n");
      if (end != std::string::npos) {
        std::string head = buffer_.substr(0, end);
        buffer_.erase(0, end + 4);
        return head;
      }
      if (buffer_.size() > kMaxHeadBytes || !ReadMore())
        return {};
      if (buffer_[0] == '\x16') {
        Send(400, {"Connection: close"}, "this is a plain http server");
        return {};
      }
    }
  }

  // What has come of it when the client goes away before the end.
  std::string ReadBody(size_t size) {
    while (buffer_.size() < size && ReadMore()) {
    }
    std::string body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return body;
  }

  void SendRaw(std::string_view bytes) override {
    while (!bytes.empty() && !dropped_) {
      const ssize_t n = ssl_ != nullptr ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                                        : send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0)
        dropped_ = true;
      else
        bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  void Drop() override { dropped_ = true; }
  void Stall() override {
    pollfd waiting = {.fd = fd_, .events = POLLRDHUP, .revents = 0};
    poll(&waiting, 1, -1);
    dropped_ = true;
  }

 private:
  bool ReadMore() {
    std::array<char, 64 * 1024> bytes{};
    const ssize_t n =
        ssl_ != nullptr ? SSL_read(ssl_, bytes.data(), bytes.size()) : read(fd_, bytes.data(), bytes.size());
    if (n > 0)
      buffer_.append(bytes.data(), static_cast<size_t>(n));
    return n > 0;
  }

  int fd_;
  SSL* ssl_;
  bool dropped_ = false;
  std::string buffer_;
};

}  // namespace

std::string SeenRequest::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

void Exchange::SendHead(int status, const std::vector<std::string>& headers, uint64_t length) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " Status\r\n";
  for (const std::string& header : headers) head += header + "\r\n";
  SendRaw(head + "Content-Length: " + std::to_string(length) + "\r\n\r\n");
}

void Exchange::Send(int status, const std::vector<std::string>& headers, std::string_view body) {
  SendHead(status, headers, body.size());
  SendRaw(body);
}

TestCertificate TestCertificate::Make() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  Check(key != nullptr && certificate != nullptr, "key");
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("gantry test"), -1, -1,
                             0);
  X509_set_issuer_name(certificate, name);
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* names =
      X509V3_EXT_conf_nid(nullptr, &context, NID_subject_alt_name, "IP:127.0.0.1,IP:127.0.0.2,DNS:localhost");
  Check(names != nullptr && X509_add_ext(certificate, names, -1) == 1, "names");
  X509_EXTENSION_free(names);
  Check(X509_sign(certificate, key, EVP_sha256()) > 0, "sign");
  TestCertificate out;
  out.key = PemOf([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
  out.certificate = PemOf([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
  X509_free(certificate);
  EVP_PKEY_free(key);
  return out;
}

struct HttpServer::Tls {
  SSL_CTX* context;
  Tls(const TestCertificate& pair, bool asks_clients) : context(SSL_CTX_new(TLS_server_method())) {
    BIO* key_bio = BIO_new_mem_buf(pair.key.data(), static_cast<int>(pair.key.size()));
    BIO* certificate_bio = BIO_new_mem_buf(pair.certificate.data(), static_cast<int>(pair.certificate.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(key_bio, nullptr, nullptr, nullptr);
    X509* certificate = PEM_read_bio_X509(certificate_bio, nullptr, nullptr, nullptr);
    Check(SSL_CTX_use_certificate(context, certificate) == 1 && SSL_CTX_use_PrivateKey(context, key) == 1, "tls");
    if (asks_clients) {
      Check(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1, "client authority");
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    EVP_PKEY_free(key);
    X509_free(certificate);
    BIO_free(key_bio);
    BIO_free(certificate_bio);
  }
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;
  ~Tls() { SSL_CTX_free(context); }
};

HttpServer::HttpServer(Handler handler, const std::string& address) : handler_(std::move(handler)) { Listen(address); }

HttpServer::HttpServer(Handler handler, const TestCertificate& certificate, const std::string& address,
                       bool asks_clients)
    : handler_(std::move(handler)), tls_(std::make_shared<Tls>(certificate, asks_clients)) {
  Listen(address);
}

void HttpServer::Listen(const std::string& address) {
  address_ = address;
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  Check(inet_pton(AF_INET, address.c_str(), &name.sin_addr) == 1, "address");
  socklen_t size = sizeof name;
  Check(bind(listener_, reinterpret_cast<sockaddr*>(&name), size) == 0 && listen(listener_, 64) == 0 &&
            getsockname(listener_, reinterpret_cast<sockaddr*>(&name), &size) == 0,
        "listen");
  port_ = ntohs(name.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

HttpServer::~HttpServer() {
  stopping_ = true;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : sockets_) shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
  for (const int fd : sockets_) close(fd);
  close(listener_);
}

void HttpServer::Accept() {
  while (!stopping_) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0)
      continue;
    ++accepted_;
    const std::lock_guard lock(mutex_);
    sockets_.push_back(fd);
    threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void HttpServer::Serve(int fd) {
  Connection connection(fd, tls_ ? SSL_new(tls_->context) : nullptr);
  if (connection.Handshake()) {
    while (!connection.dropped() && !stopping_) {
      const std::string head = connection.ReadHead();
      if (head.empty())
        break;
      SeenRequest request = ParseHead(head);
      const std::string length = request.Header("content-length");
      if (!length.empty())
        request.body = connection.ReadBody(std::min<size_t>(std::stoul(length), kMaxBodyBytes));
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      handler_(request, connection);
    }
  }
  shutdown(fd, SHUT_RDWR);
}

std::string HttpServer::host() const { return address_ + ":" + std::to_string(port_); }

std::string HttpServer::Url(const std::string& target) const {
  return (tls_ ? "https://" : "http://") + host() + target;
}

std::vector<SeenRequest> HttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

}  // namespace gantry::testing
