// HTTP/1.1 with or without TLS, for one handler. Owns cpp-httplib, whose types stay behind it: the parsing of requests,
// ranges, what a body is sent as. Bounds: the number of connections, the time that a client may take, the length of a
// request line and of a header (cpp-httplib's, 8 KiB each) and of all of them; no request has a body that is read, and
// behind one that may have there is no other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/stream.h"

namespace gantry::serve {

struct HttpRequest {
  std::string method;   // "GET" or "HEAD"
  std::string path;     // percent-decoded
  std::string client;   // its address
  bool streams = true;  // takes a body without a length and can tell whether it is whole: not so in HTTP/1.0
  std::function<std::string(const char* name)> header;                // empty when absent
  std::function<std::optional<std::string>(const char* name)> query;  // the decoded value of a parameter
  std::function<bool()> is_gone = [] { return false; };  // whether the client has left, and waits for nothing more
};

// The bytes from `offset` on, as far as there are any now; an empty block at the end; nullopt when there will be no
// end.
using ByteStream = std::function<std::optional<Block>(uint64_t offset)>;

struct HttpAnswer {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
  // One of these. A file, or what was read of one, can be asked for in parts, of which each must be one that `etag`
  // names; a stream has no length beforehand, and is cut off where it breaks, so that no client takes it for whole.
  std::string text = {};
  std::shared_ptr<const UniqueFd> file = nullptr;
  std::shared_ptr<const std::string> content = nullptr;
  uint64_t size = 0;  // of the file or content
  ByteStream stream = nullptr;
  std::string etag = {};  // with its quotes
  // For the log.
  std::string how = {};  // "hit", "made", "joined"
  std::string user = {};
  std::string error = {};
};

// What became of a request.
struct HttpLogLine {
  const HttpRequest& request;
  const HttpAnswer& answer;
  int status;  // as it was sent
  uint64_t bytes = 0;
  uint64_t microseconds = 0;
  bool whole = true;  // false: broken off, by either side
};

struct HttpServerOptions {
  std::string address;           // "127.0.0.1", "::"
  int port = 0;                  // 0: any
  std::string certificate, key;  // PEM files; empty: no TLS
  size_t connections = 512;
  int idle_seconds = 30;   // between requests
  int stall_seconds = 60;  // for a request to come, and for a client that takes nothing
};

class HttpServer {
 public:
  using Handler = std::function<HttpAnswer(const HttpRequest&)>;
  using Logger = std::function<void(const HttpLogLine&)>;

  // Binds and listens; connections wait until Run. kFailed when it cannot, kUsage for a certificate that is none.
  HttpServer(HttpServerOptions options, Handler handler, Logger logger);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  int port() const;
  // Until Stop; then until the last request that had begun is answered.
  void Run();
  // No more connections, from any thread.
  void Stop();
  // Reads certificate and key again, for connections from now on. As the constructor; what was stays when it throws.
  void ReloadCertificate();

  // Requests whose answers are not out yet.
  size_t answering() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace gantry::serve
