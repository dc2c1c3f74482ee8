// An HTTP/1.1 server inside the test, for the answers that no honest server gives. Listens on a free port of a
// loopback address; every connection has a thread; the handler writes what it likes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace gantry::testing {

struct SeenRequest {
  std::string method;
  std::string target;                          // with its query
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // by its Content-Length
  std::string Header(const std::string& name) const;
};

// The way back to the client, for one request.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // A whole answer with Content-Length; `headers` are "Name: value" lines.
  void Send(int status, const std::vector<std::string>& headers, std::string_view body);
  // A head that promises `length` bytes; the body follows by SendRaw.
  void SendHead(int status, const std::vector<std::string>& headers, uint64_t length);
  virtual void SendRaw(std::string_view bytes) = 0;
  // Ends the connection after this request.
  virtual void Drop() = 0;
  // Keeps the client waiting until it goes away or the server ends.
  virtual void Stall() = 0;
};

// A key and a self-signed certificate for 127.0.0.1, 127.0.0.2 and localhost, in PEM, made anew.
struct TestCertificate {
  std::string key;
  std::string certificate;
  static TestCertificate Make();
};

class HttpServer {
 public:
  using Handler = std::function<void(const SeenRequest&, Exchange&)>;

  explicit HttpServer(Handler handler, const std::string& address = "127.0.0.1");
  // The same over TLS.
  HttpServer(Handler handler, const TestCertificate& certificate, const std::string& address = "127.0.0.1",
             bool asks_clients = false);  // for the same certificate
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  std::string host() const;  // "127.0.0.1:PORT"
  std::string Url(const std::string& target) const;

  // What came in so far, in order.
  std::vector<SeenRequest> requests() const;
  int connections() const { return accepted_; }

 private:
  struct Tls;
  void Listen(const std::string& address);
  void Accept();
  void Serve(int fd);

  Handler handler_;
  std::shared_ptr<Tls> tls_;
  std::string address_;
  int port_ = 0;
  int listener_ = -1;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> accepted_ = 0;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> requests_;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace gantry::testing
