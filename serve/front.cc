#include "serve/front.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <ctime>
#include <mutex>
#include <shared_mutex>
#include <thread>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/time_text.h"

namespace gantry::serve {
namespace {

// As in a URL: text, whatever a client makes of it.
std::string AsText(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    if (c > ' ' && c < 0x7f && c != '%')
      out += c;
    else
      out += "%" + HexOf({&c, 1});
  }
  return out;
}

// A line of JSON for each request.
class AccessLog {
 public:
  explicit AccessLog(std::string path) : path_(std::move(path)) { Reopen(); }

  void Reopen() {
    if (path_.empty())
      return;
    UniqueFd fresh = gantry::OpenFile(path_, O_WRONLY | O_APPEND | O_CREAT, 0640);
    const std::unique_lock lock(mutex_);
    file_ = std::move(fresh);
  }

  void Write(const HttpLogLine& line) {
    json::Object out{
        {"time", TimeText(std::time(nullptr))}, {"client", line.request.client}, {"method", line.request.method},
        {"path", AsText(line.request.path)},    {"status", line.status},         {"bytes", line.bytes},
        {"microseconds", line.microseconds}};
    if (!line.whole)
      out.Set("broken", true);
    const std::string user = AsText(line.answer.user);
    for (const auto& [name, text] : {std::pair<const char*, const std::string&>{"user", user},
                                     {"from", line.answer.how},
                                     {"error", line.answer.error}}) {
      if (!text.empty())
        out.Set(name, text);
    }
    Write(out);
  }

  void Write(const json::Object& line) {
    std::string text;
    try {
      text = json::Print(line) + "\n";
    } catch (const std::exception&) {
      text = "{\"error\":\"a line that is no text\"}\n";
    }
    // What a pipe takes at once needs nobody to stand back.
    std::shared_lock together(mutex_, std::defer_lock);
    std::unique_lock alone(mutex_, std::defer_lock);
    if (text.size() <= PIPE_BUF)
      together.lock();
    else
      alone.lock();
    // A log that cannot be written stops no answer.
    static_cast<void>(!write(file_ ? file_.get() : STDERR_FILENO, text.data(), text.size()));
  }

 private:
  std::string path_;
  std::shared_mutex mutex_;
  UniqueFd file_;
};

std::optional<std::string> ReadIfNamed(const std::string& path) {
  return path.empty() ? std::nullopt : std::optional(ReadFile(path, kMaxAccessFileBytes));
}

std::shared_ptr<Access> LoadAccess(const FrontOptions& options) {
  return std::make_shared<Access>(ReadIfNamed(options.passwords), ReadIfNamed(options.tokens));
}

// A connection takes a descriptor, and its answer one or two more.
void RaiseFileLimit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

class Front {
 public:
  Front(FrontOptions options, UniqueFd kitchen, const std::function<void()>& confine)
      : options_(std::move(options)),
        log_(options_.access_log),
        access_(LoadAccess(options_)),
        cache_(options_.cache, options_.cache_bytes, options_.fresh_for),
        server_(
            options_.http, [this](const HttpRequest& request) { return service_->Answer(request); },
            [this](const HttpLogLine& line) {
              service_->Count(line);
              log_.Write(line);
            }) {
    // Some connections are left to what can be answered at once.
    const size_t connections = options_.http.connections;
    options_.service.waits = connections > 1 ? connections - std::max<size_t>(connections / 8, 1) : 1;
    RaiseFileLimit();
    confine();  // before the first thread
    if (options_.service.url.empty())
      options_.service.url = (options_.http.certificate.empty() ? "http://" : "https://") + place();
    service_ = std::make_unique<Service>(
        options_.service, cache_, std::move(kitchen),
        [this] {
          const std::lock_guard lock(mutex_);
          return access_;
        },
        [] { kill(getpid(), SIGTERM); });
  }

  // "[::1]:8080".
  std::string place() const {
    const std::string& address = options_.http.address;
    const bool v6 = address.find(':') != std::string::npos;
    return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(server_.port());
  }

  int Run() {
    std::thread([this] { HearSignals(); }).detach();
    server_.Run();
    _exit(0);  // that thread waits still
  }

 private:
  void HearSignals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    int signal = 0;
    while (sigwait(&signals, &signal) != 0 || signal == SIGHUP) Reload();
    Drain();
  }

  void Reload() {
    Try([this] { log_.Reopen(); });
    Try([this] { server_.ReloadCertificate(); });
    Try([this] {
      std::shared_ptr<Access> fresh = LoadAccess(options_);
      const std::lock_guard lock(mutex_);
      access_ = std::move(fresh);
    });
    cache_.BeginGeneration();
    log_.Write(json::Object{{"time", TimeText(std::time(nullptr))}, {"event", "reloaded"}});
  }

  void Try(const std::function<void()>& step) {
    try {
      step();
    } catch (const Error& error) {
      log_.Write(json::Object{{"time", TimeText(std::time(nullptr))}, {"event", "reload"}, {"error", error.message()}});
    }
  }

  void Drain() {
    service_->Drain();
    const auto deadline = std::chrono::steady_clock::now() + options_.drain;
    server_.Stop();
    // Connections on which nobody asks are not waited for.
    for (int quiet = 0; quiet < 3;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      quiet = server_.answering() == 0 ? quiet + 1 : 0;
      if (quiet < 3 && std::chrono::steady_clock::now() > deadline) {
        log_.Write(json::Object{{"time", TimeText(std::time(nullptr))}, {"event", "drain"}, {"broken", true}});
        _exit(1);
      }
    }
    _exit(0);
  }

  FrontOptions options_;
  AccessLog log_;
  std::mutex mutex_;
  std::shared_ptr<Access> access_;
  Cache cache_;
  HttpServer server_;
  std::unique_ptr<Service> service_;
};

}  // namespace

int RunFront(FrontOptions options, UniqueFd kitchen, const std::function<void(const std::string& place)>& ready,
             const std::function<void()>& confine) {
  Front front(std::move(options), std::move(kitchen), confine);
  ready(front.place());
  return front.Run();
}

}  // namespace gantry::serve
