#include "serve/http_server.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "libimage/base/error.h"

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
    if (idle_ < jobs_.size() && threads_.size() < most_)
      threads_.emplace_back([this] { Work(); });
    else
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

// The one request that a thread is at.
struct Current {
  HttpRequest request;
  HttpAnswer answer;
  Clock::time_point begun;
  uint64_t bytes = 0;
};
thread_local Current current;

struct FreeTls {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTls>;

TlsContext LoadTls(const HttpServerOptions& options) {
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  if (!context || SSL_CTX_use_certificate_chain_file(context.get(), options.certificate.c_str()) != 1)
    throw Error(ErrorKind::kUsage, "cannot read a certificate from " + Quoted(options.certificate));
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    throw Error(ErrorKind::kUsage, "cannot read the private key of that certificate from " + Quoted(options.key));
  }
  return context;
}

}  // namespace

class HttpServer::State {
 public:
  State(HttpServerOptions options, Handler handler, Logger logger)
      : options_(std::move(options)), handler_(std::move(handler)), logger_(std::move(logger)) {
    if (!options_.certificate.empty()) {
      tls_ = LoadTls(options_);
      server_ = std::make_unique<httplib::SSLServer>([this](SSL_CTX& context) { return SetUp(context); });
    } else {
      server_ = std::make_unique<httplib::Server>();
    }
    Configure();
    Bind();
  }

  int port() const { return port_; }
  void Run() { server_->listen_after_bind(); }
  // Not by cpp-httplib, which would break off every answer that is on its way.
  void Stop() const { shutdown(listener_, SHUT_RDWR); }
  size_t answering() const { return answering_; }

  void Reload() {
    if (options_.certificate.empty())
      return;
    TlsContext fresh = LoadTls(options_);
    const std::lock_guard lock(tls_mutex_);
    tls_.swap(fresh);
  }

 private:
  bool SetUp(SSL_CTX& context) {
    SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION);
    SSL_CTX_set_cert_cb(&context, Certify, this);
    return true;
  }

  // The certificate of now, for one connection.
  static int Certify(SSL* connection, void* state) {
    auto* self = static_cast<State*>(state);
    const std::lock_guard lock(self->tls_mutex_);
    STACK_OF(X509)* chain = nullptr;
    SSL_CTX_get0_chain_certs(self->tls_.get(), &chain);
    return SSL_use_cert_and_key(connection, SSL_CTX_get0_certificate(self->tls_.get()),
                                SSL_CTX_get0_privatekey(self->tls_.get()), chain, 1);
  }

  void Configure() {
    httplib::Server& server = *server_;
    server.new_task_queue = [this] { return new Threads(options_.connections, busy_); };
    server.set_keep_alive_max_count(kRequestsOfConnection);
    server.set_keep_alive_timeout(options_.idle_seconds);
    server.set_read_timeout(options_.stall_seconds);
    server.set_write_timeout(options_.stall_seconds);
    server.set_payload_max_length(0);
    server.set_tcp_nodelay(true);
    server.set_socket_options([this](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
      listener_ = socket;
    });
    server.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      Answer(request, response);
      return httplib::Server::HandlerResponse::Handled;
    });
    server.set_logger(
        [this](const httplib::Request& request, const httplib::Response& response) { Log(request, response); });
  }

  void Bind() {
    const bool bound = options_.port != 0 ? server_->bind_to_port(options_.address, options_.port)
                                          : (port_ = server_->bind_to_any_port(options_.address)) > 0;
    if (!bound) {
      throw Error(ErrorKind::kFailed,
                  "cannot listen at " + Quoted(options_.address) + ", port " + std::to_string(options_.port),
                  "is another server there, or does this user lack the right?");
    }
    if (options_.port != 0)
      port_ = options_.port;
    listen(listener_, kBacklog);  // cpp-httplib has a backlog of 5
  }

  void Answer(const httplib::Request& request, httplib::Response& response) {
    current = {};
    current.begun = Clock::now();
    ++answering_;
    current.request = {.method = request.method,
                       .path = PathOf(request.path),
                       .client = request.remote_addr,
                       .streams = request.version != "HTTP/1.0",
                       .header = [&request](const char* name) { return request.get_header_value(name); },
                       .query =
                           [&request](const char* name) {
                             return request.has_param(name) ? std::optional(request.get_param_value(name))
                                                            : std::nullopt;
                           }};
    const bool believed = IsBelieved(request);
    if (request.method != "GET" && request.method != "HEAD")
      current.answer = {.status = 405, .headers = {{"Allow", "GET, HEAD"}}, .text = "only GET and HEAD are answered\n"};
    else if (!believed)
      current.answer = {.status = 400, .headers = {{"Connection", "close"}}, .text = "no request has a body here\n"};
    else
      current.answer = handler_(current.request);
    Send(request, response);
  }

  // What stands behind a request that has a body is that body, which cpp-httplib would take for the next request, or
  // not: nothing on that connection is believed any more (request smuggling, RFC 9112, 11.2).
  static bool IsBelieved(const httplib::Request& request) {
    thread_local std::string distrusted;
    const std::string connection = request.remote_addr + " " + std::to_string(request.remote_port);
    const std::string length = request.get_header_value("Content-Length");
    if (request.get_header_value_count("Content-Length") > 1 || (!length.empty() && length != "0") ||
        request.has_header("Transfer-Encoding"))
      distrusted = connection;
    return distrusted != connection;
  }

  static bool Matches(const std::string& listed, const std::string& etag) {
    return listed == "*" || (!etag.empty() && listed.find(etag) != std::string::npos);
  }

  void Send(const httplib::Request& request, httplib::Response& response) {
    const HttpAnswer& answer = current.answer;
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
    if (!answer.file || answer.status != 200 || ranges.size() > 1 || (!if_range.empty() && if_range != answer.etag))
      ranges.clear();
    if (!ranges.empty() && !FitRange(ranges[0], answer.size)) {
      ranges.clear();
      response.status = 416;
      response.set_header("Content-Range", "bytes */" + std::to_string(answer.size));
      return;
    }
    response.status = ranges.empty() ? answer.status : 206;
    if (answer.file)
      SendFile(response);
    else if (answer.stream)
      SendStream(response);
    else
      response.set_content(answer.text, answer.type);
    if (answer.file)
      response.set_header("Accept-Ranges", "bytes");
  }

  // Cuts the range to what there is; false when that is nothing. cpp-httplib has -1 for a first or last byte that was
  // not given.
  static bool FitRange(httplib::Range& range, uint64_t size) {
    const auto end = static_cast<ssize_t>(size);
    range.second = std::min(range.second, range.first == -1 ? end : end - 1);
    return range.first == -1 ? range.second > 0 : range.first < end;
  }

  void SendFile(httplib::Response& response) {
    if (current.answer.size == 0)
      return response.set_content("", current.answer.type);
    response.set_content_provider(current.answer.size, current.answer.type,
                                  [file = current.answer.file](size_t offset, size_t length, httplib::DataSink& sink) {
                                    thread_local std::vector<std::byte> piece(kPieceBytes);
                                    const size_t want = std::min(length, piece.size());
                                    const ssize_t got =
                                        pread(file->get(), piece.data(), want, static_cast<off_t>(offset));
                                    return got > 0 && Write(sink, {piece.data(), static_cast<size_t>(got)});
                                  });
  }

  void SendStream(httplib::Response& response) {
    response.set_chunked_content_provider(current.answer.type,
                                          [stream = current.answer.stream](size_t offset, httplib::DataSink& sink) {
                                            return Pass(stream, offset, sink);
                                          });
  }

  // False breaks the answer off. cpp-httplib catches nothing here.
  static bool Pass(const ByteStream& stream, size_t offset, httplib::DataSink& sink) {
    try {
      const std::optional<Block> block = stream(offset);
      if (!block)
        return false;
      if (!block->empty())
        return Write(sink, block->bytes());
      sink.done();
      return true;
    } catch (const std::exception& error) {
      current.answer.error = error.what();
      return false;
    }
  }

  static bool Write(httplib::DataSink& sink, std::span<const std::byte> bytes) {
    current.bytes += bytes.size();
    return sink.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void Log(const httplib::Request& request, const httplib::Response& response) {
    if (current.request.method.empty())
      return;  // no request that could be parsed
    const bool provided = response.content_provider_ != nullptr && request.method != "HEAD";
    logger_({.request = current.request,
             .answer = current.answer,
             .status = response.status,
             .bytes = provided ? current.bytes : response.body.size(),
             .microseconds = static_cast<uint64_t>(
                 std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - current.begun).count()),
             .whole = !provided || response.content_provider_success_});
    current = {};
    --answering_;
  }

  HttpServerOptions options_;
  Handler handler_;
  Logger logger_;
  std::mutex tls_mutex_;
  TlsContext tls_;
  std::atomic<size_t> busy_ = 0, answering_ = 0;
  std::unique_ptr<httplib::Server> server_;
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
