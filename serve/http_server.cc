#include "serve/http_server.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#include "libimage/base/error.h"
#include "serve/client_socket.h"
#include "serve/request_head.h"

namespace gantry::serve {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBacklog = 1024;
constexpr size_t kPieceBytes = 256 * 1024;
constexpr size_t kRequestsOfConnection = 1'000'000;

// Who takes this server for a proxy names the host as well (RFC 9112, 3.2.2).
std::string PathOf(const std::string& target) {
  if (!target.starts_with("http://") && !target.starts_with("https://"))
    return target;
  const size_t path = target.find('/', target.find("://") + 3);
  return path == std::string::npos ? "/" : target.substr(path);
}

// A thread for each connection, as many as there may be; the rest waits before it is accepted.
class Threads : public httplib::TaskQueue {
 public:
  Threads(size_t most, std::atomic<size_t>& busy) : most_(most), busy_(busy) {}

  void enqueue(std::function<void()> job) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return jobs_.size() + busy_ < most_; });
    jobs_.push_back(std::move(job));
    if (idle_ >= jobs_.size() || threads_.size() == most_ || !AddThread())
      added_.notify_one();
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    added_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  // False when the system has no more of them: then the connection waits for one that ends.
  bool AddThread() {
    try {
      threads_.emplace_back([this] { Work(); });
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      added_.wait(lock, [this] { return !jobs_.empty() || ended_; });
      --idle_;
      if (jobs_.empty())
        return;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      ++busy_;
      lock.unlock();
      job();
      lock.lock();
      --busy_;
      room_.notify_one();
    }
  }

  size_t most_;
  std::atomic<size_t>& busy_;
  std::mutex mutex_;
  std::condition_variable added_, room_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool ended_ = false;
};

// The connection that a thread is at, and its one request.
struct Current {
  explicit Current(ClientSocket& its_socket) : socket(its_socket) {}

  void Begin() {
    request = {};
    answer = {};
    bytes = 0;
    begun = Clock::now();
  }

  ClientSocket& socket;
  bool believed = true;  // that what comes next is a request: not behind one that could not be parsed or has a body
  RequestHead head;      // of the request that is read
  HttpRequest request;
  HttpAnswer answer;
  Clock::time_point begun;
  uint64_t bytes = 0;
};
thread_local Current* current = nullptr;

// What cpp-httplib sees of a connection.
class Stream : public httplib::Stream {
 public:
  explicit Stream(Current& connection) : socket_(connection.socket), connection_(connection) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  // Nothing but heads, for no body is read. cpp-httplib skips or mends the lines that are wrong, and takes the end of
  // what there is for a bad request.
  ssize_t read(char* into, size_t size) override {
    const size_t got = socket_.Read(std::as_writable_bytes(std::span(into, size)));
    const bool good = std::all_of(into, into + got, [this](char byte) { return connection_.head.Take(byte); });
    return got > 0 && good ? static_cast<ssize_t>(got) : -1;
  }
  ssize_t write(const char* bytes, size_t size) override {
    return socket_.Write(std::as_bytes(std::span(bytes, size))) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = socket_.address();
    port = socket_.port();
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  // None that cpp-httplib needs to know: it has select(2) in mind, and refuses those of 1024 and more.
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  ClientSocket& socket_;
  Current& connection_;
};

// Cpp-httplib without its connections: it looks at each a hundred times a second, and asks for leave before each piece.
class Requests : public httplib::Server {
 public:
  explicit Requests(std::function<bool(socket_t)> serve) : serve_(std::move(serve)) {}
  using Server::process_request;

 private:
  bool process_and_close_socket(socket_t fd) override { return serve_(fd); }

  std::function<bool(socket_t)> serve_;
};

}  // namespace

class HttpServer::State {
 public:
  State(HttpServerOptions options, Handler handler, Logger logger)
      : options_(std::move(options)), handler_(std::move(handler)), logger_(std::move(logger)) {
    if (!options_.certificate.empty())
      tls_.emplace(options_.certificate, options_.key);
    Configure();
    Bind();
  }

  int port() const { return port_; }
  void Run() { server_.listen_after_bind(); }
  // Not by cpp-httplib, which would break off every answer that is on its way.
  void Stop() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
  }
  size_t answering() const { return answering_; }

  void Reload() {
    if (tls_)
      tls_->Reload();
  }

 private:
  // One connection, from its beginning to its end; what goes wrong ends it alone.
  bool Serve(socket_t fd) {
    try {
      ClientSocket socket(UniqueFd(fd),
                          {std::chrono::seconds(options_.idle_seconds), std::chrono::seconds(options_.stall_seconds)});
      return (!tls_ || socket.BeginTls(*tls_)) && ServeRequests(socket);
    } catch (const std::exception&) {
      return false;
    }
  }

  bool ServeRequests(ClientSocket& socket) {
    Current connection(socket);
    current = &connection;
    Stream stream(connection);
    bool good = true;
    for (bool last = false; good && !last && connection.believed && socket.WaitForRequest();) {
      last = stopping_;
      connection.believed = false;
      connection.head = {};
      good = server_.process_request(stream, last, last, nullptr);
      good = socket.Flush() && good;
    }
    if (!connection.believed)
      socket.Linger();
    return good;
  }

  void Configure() {
    server_.new_task_queue = [this] { return new Threads(options_.connections, busy_); };
    server_.set_keep_alive_max_count(kRequestsOfConnection);
    server_.set_keep_alive_timeout(options_.idle_seconds);
    server_.set_payload_max_length(0);
    server_.set_tcp_nodelay(true);
    server_.set_socket_options([this](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
      listener_ = socket;
    });
    server_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      Answer(request, response);
      return httplib::Server::HandlerResponse::Handled;
    });
    // cpp-httplib promises another request to whoever does not decline it.
    server_.set_post_routing_handler([](const httplib::Request&, httplib::Response& response) {
      if (current->believed)
        return;
      response.headers.erase("Keep-Alive");
      response.headers.erase("Connection");
      response.set_header("Connection", "close");
    });
    server_.set_logger(
        [this](const httplib::Request& request, const httplib::Response& response) { Log(request, response); });
  }

  void Bind() {
    const bool bound = options_.port != 0 ? server_.bind_to_port(options_.address, options_.port)
                                          : (port_ = server_.bind_to_any_port(options_.address)) > 0;
    if (!bound) {
      throw Error(ErrorKind::kFailed,
                  "cannot listen at " + Quoted(options_.address) + ", port " + std::to_string(options_.port),
                  "is another server there, or does this user lack the right?");
    }
    if (options_.port != 0)
      port_ = options_.port;
    ::listen(listener_, kBacklog);  // cpp-httplib has a backlog of 5
  }

  void Answer(const httplib::Request& request, httplib::Response& response) {
    current->Begin();
    ++answering_;
    current->request = {.method = request.method,
                        .path = PathOf(request.path),
                        .client = request.remote_addr,
                        .streams = request.version != "HTTP/1.0",
                        .header = [&request](const char* name) { return request.get_header_value(name); },
                        .query =
                            [&request](const char* name) {
                              return request.has_param(name) ? std::optional(request.get_param_value(name))
                                                             : std::nullopt;
                            },
                        .is_gone = [&socket = current->socket] { return socket.IsGone(); }};
    current->believed = !current->head.has_body();
    if (request.method != "GET" && request.method != "HEAD")
      current->answer = {
          .status = 405, .headers = {{"Allow", "GET, HEAD"}}, .text = "only GET and HEAD are answered\n"};
    else if (!current->believed)
      current->answer = {.status = 400, .text = "no request has a body here\n"};
    else
      current->answer = handler_(current->request);
    Send(request, response);
  }

  static bool Matches(const std::string& listed, const std::string& etag) {
    return listed == "*" || (!etag.empty() && listed.find(etag) != std::string::npos);
  }

  void Send(const httplib::Request& request, httplib::Response& response) {
    const HttpAnswer& answer = current->answer;
    for (const auto& [name, value] : answer.headers) response.set_header(name, value);
    response.set_header("Server", "gantry");
    if (!answer.etag.empty())
      response.set_header("ETag", answer.etag);
    if (answer.status == 200 && Matches(request.get_header_value("If-None-Match"), answer.etag)) {
      response.status = 304;
      return;
    }
    // cpp-httplib cuts by what it parsed. Several ranges at once are a way to ask for much with little, so they get the
    // whole, as everything gets that has no ranges or is not what the client has a part of (RFC 9110, 14.2, 13.1.5).
    auto& ranges = const_cast<httplib::Request&>(request).ranges;  // the caller's, and no constant
    const std::string if_range = request.get_header_value("If-Range");
    const bool has_parts = answer.file || answer.content;
    if (!has_parts || answer.status != 200 || ranges.size() > 1 || (!if_range.empty() && if_range != answer.etag))
      ranges.clear();
    if (!ranges.empty() && !FitRange(ranges[0], answer.size)) {
      ranges.clear();
      response.status = 416;
      response.set_header("Content-Range", "bytes */" + std::to_string(answer.size));
      return;
    }
    response.status = ranges.empty() ? answer.status : 206;
    if (has_parts)
      SendParts(response);
    else if (answer.stream)
      SendStream(response);
    else
      response.set_content(answer.text, answer.type);
    if (has_parts)
      response.set_header("Accept-Ranges", "bytes");
  }

  // Cuts the range to what there is; false when that is nothing. cpp-httplib has -1 for a first or last byte that was
  // not given.
  static bool FitRange(httplib::Range& range, uint64_t size) {
    const auto end = static_cast<ssize_t>(size);
    range.second = std::min(range.second, range.first == -1 ? end : end - 1);
    return range.first == -1 ? range.second > 0 : range.first < end;
  }

  void SendParts(httplib::Response& response) {
    const HttpAnswer& answer = current->answer;
    if (answer.size == 0)
      return response.set_content("", answer.type);
    if (answer.content) {
      response.set_content_provider(answer.size, answer.type,
                                    [content = answer.content](size_t offset, size_t length, httplib::DataSink& sink) {
                                      return Write(sink, AsBytes(std::string_view(*content).substr(offset, length)));
                                    });
      return;
    }
    response.set_content_provider(
        answer.size, answer.type, [file = answer.file](size_t offset, size_t length, httplib::DataSink& sink) {
          thread_local std::vector<std::byte> piece(kPieceBytes);
          const size_t want = std::min(length, piece.size());
          const ssize_t got = pread(file->get(), piece.data(), want, static_cast<off_t>(offset));
          return got > 0 && Write(sink, {piece.data(), static_cast<size_t>(got)});
        });
  }

  void SendStream(httplib::Response& response) {
    response.set_chunked_content_provider(current->answer.type,
                                          [stream = current->answer.stream](size_t offset, httplib::DataSink& sink) {
                                            return Pass(stream, offset, sink);
                                          });
  }

  // False breaks the answer off. cpp-httplib catches nothing here. The client gets what there is before more is waited
  // for.
  static bool Pass(const ByteStream& stream, size_t offset, httplib::DataSink& sink) {
    try {
      if (!current->socket.Flush())
        return false;
      const std::optional<Block> block = stream(offset);
      if (!block)
        return false;
      if (!block->empty())
        return Write(sink, block->bytes());
      sink.done();
      return true;
    } catch (const std::exception& error) {
      current->answer.error = error.what();
      return false;
    }
  }

  static bool Write(httplib::DataSink& sink, std::span<const std::byte> bytes) {
    current->bytes += bytes.size();
    return sink.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void Log(const httplib::Request& request, const httplib::Response& response) {
    if (current->request.method.empty())
      return;  // no request that could be parsed
    const bool provided = response.content_provider_ != nullptr && request.method != "HEAD";
    const bool sent = current->socket.Flush();
    logger_({.request = current->request,
             .answer = current->answer,
             .status = response.status,
             .bytes = provided ? current->bytes : response.body.size(),
             .microseconds = static_cast<uint64_t>(
                 std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - current->begun).count()),
             .whole = sent && (!provided || response.content_provider_success_)});
    current->Begin();
    --answering_;
  }

  HttpServerOptions options_;
  Handler handler_;
  Logger logger_;
  std::optional<TlsIdentity> tls_;
  std::atomic<size_t> busy_ = 0, answering_ = 0;
  std::atomic<bool> stopping_ = false;
  Requests server_{[this](socket_t fd) { return Serve(fd); }};
  socket_t listener_ = INVALID_SOCKET;
  int port_ = 0;
};

HttpServer::HttpServer(HttpServerOptions options, Handler handler, Logger logger)
    : state_(std::make_unique<State>(std::move(options), std::move(handler), std::move(logger))) {}

HttpServer::~HttpServer() = default;

int HttpServer::port() const { return state_->port(); }
void HttpServer::Run() { state_->Run(); }
void HttpServer::Stop() { state_->Stop(); }
void HttpServer::ReloadCertificate() { state_->Reload(); }
size_t HttpServer::answering() const { return state_->answering(); }

}  // namespace gantry::serve
