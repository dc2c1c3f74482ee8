#include "libimage/transport/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>

#include "libimage/base/error.h"
#include "libimage/transport/http_transfer.h"

namespace gantry::image {
namespace {

using Clock = Transfer::Clock;
using std::chrono::milliseconds;

// A transfer that made this much headway before it broke has all its tries again.
constexpr uint64_t kHeadwayBytes = 1024 * 1024;

struct NoTls {};  // thrown through Engine::Wait to SpeaksTls only

struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// RFC 9110, 15.4: others than these make a GET of what is no GET.
bool KeepsMethod(int status) { return status == 307 || status == 308; }

bool ChangesNothing(const std::string& method) { return method == "GET" || method == "HEAD"; }

}  // namespace

void HostPauses::Ask(const std::string& origin, Clock::time_point until) {
  const std::lock_guard lock(mutex_);
  Clock::time_point& known = until_[origin];
  known = std::max(known, until);
}

std::optional<HostPauses::Clock::time_point> HostPauses::Until(const std::string& origin) const {
  const std::lock_guard lock(mutex_);
  const auto found = until_.find(origin);
  return found == until_.end() || found->second <= Clock::now() ? std::nullopt : std::optional(found->second);
}

bool IsTransientStatus(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

milliseconds PauseAfter(int tries, const HttpOptions& options) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  const auto doubled = options.first_pause * (int64_t{1} << std::min(tries - 1, 10));
  const auto longest = std::min<milliseconds>(doubled, options.longest_pause).count();
  return milliseconds(std::uniform_int_distribution<int64_t>(longest / 2, longest)(random));
}

class HttpClient::Engine {
 public:
  explicit Engine(const HttpOptions& options);
  ~Engine();
  int Start(HttpRequest request, BodyWriter write, bool probes_tls = false);
  Finished Wait(std::optional<int> transfer);
  void Cancel(int transfer);

 private:
  void Send(Transfer& transfer);
  void Ended(Transfer& transfer, CURLcode code);
  void TryEnded(Transfer& transfer, CURLcode code);
  void Follow(Transfer& transfer);
  bool Pause(Transfer& transfer, std::optional<std::chrono::seconds> asked);
  void Complete(Transfer& transfer, std::exception_ptr error);
  void SendDue();
  void Turn();
  milliseconds UntilDue() const;

  const HttpOptions& options_;
  std::unique_ptr<CURLM, MultiDeleter> multi_;
  std::map<int, std::unique_ptr<Transfer>> running_;
  std::deque<Finished> finished_;
  int last_number_ = 0;
};

HttpClient::Engine::Engine(const HttpOptions& options) : options_(options) {
  static const CURLcode kReady = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (kReady != CURLE_OK)
    throw Error(ErrorKind::kFailed, "libcurl does not start");
  multi_.reset(curl_multi_init());
  if (!multi_)
    throw std::bad_alloc();
}

HttpClient::Engine::~Engine() {
  for (const auto& [number, transfer] : running_) {
    if (transfer->easy)
      curl_multi_remove_handle(multi_.get(), transfer->easy.get());
  }
}

// At once, unless the host has asked for a pause.
void HttpClient::Engine::Send(Transfer& transfer) {
  if (const auto until = options_.pauses->Until(transfer.url->Origin())) {
    transfer.not_before = *until;
    return;
  }
  try {
    transfer.Prepare(options_);
  } catch (const Error&) {
    Complete(transfer, std::current_exception());
    return;
  }
  if (const CURLMcode code = curl_multi_add_handle(multi_.get(), transfer.easy.get()); code != CURLM_OK) {
    throw Error(ErrorKind::kFailed, std::string("libcurl: ") + curl_multi_strerror(code));
  }
}

int HttpClient::Engine::Start(HttpRequest request, BodyWriter write, bool probes_tls) {
  auto transfer = std::make_unique<Transfer>(Transfer{.request = std::move(request), .write = std::move(write)});
  transfer->probes_tls = probes_tls;
  transfer->number = ++last_number_;
  transfer->url = transfer->request.url;
  transfer->led_by = transfer->request.led_by;
  transfer->written = transfer->written_at_last_loss = transfer->request.first_byte;
  Transfer& started = *transfer;
  running_.emplace(started.number, std::move(transfer));
  Send(started);
  return last_number_;
}

void HttpClient::Engine::Complete(Transfer& transfer, std::exception_ptr error) {
  finished_.push_back({transfer.number, std::move(transfer.response), std::move(error)});
  running_.erase(transfer.number);
}

// Whether there will be another try; then it is planned. `asked` is what the server wants.
bool HttpClient::Engine::Pause(Transfer& transfer, std::optional<std::chrono::seconds> asked) {
  if (transfer.written - transfer.written_at_last_loss >= kHeadwayBytes)
    transfer.tries = 0;
  transfer.written_at_last_loss = transfer.written;
  if (++transfer.tries >= options_.max_tries || (asked && *asked > options_.longest_pause))
    return false;
  const milliseconds pause = PauseAfter(transfer.tries, options_);
  transfer.not_before = Clock::now() + std::max<milliseconds>(pause, asked.value_or(std::chrono::seconds(0)));
  if (asked)
    options_.pauses->Ask(transfer.url->Origin(), *transfer.not_before);
  // Redirects lead to places that are good for a while only.
  transfer.url = transfer.request.url;
  transfer.led_by = transfer.request.led_by;
  transfer.redirects = 0;
  return true;
}

void HttpClient::Engine::Follow(Transfer& transfer) {
  const std::string location(transfer.response.Header("location"));
  const std::optional<Url> next = transfer.url->Resolve(location);
  if (!next) {
    throw Error(ErrorKind::kNetwork, transfer.Where() + ": redirect to " +
                                         Quoted(location.substr(0, location.find('?'))) + ", which is no web address");
  }
  if (++transfer.redirects > kMaxRedirects) {
    throw Error(ErrorKind::kNetwork, transfer.Where() + ": more than " + std::to_string(kMaxRedirects) + " redirects");
  }
  if (transfer.url->https() && !next->https()) {
    throw Error(ErrorKind::kNetwork,
                transfer.Where() + ": redirect from https to plain http, to " + Quoted(next->Shown()));
  }
  transfer.led_by = transfer.response.zone;
  transfer.url = next;
  Send(transfer);
}

void HttpClient::Engine::TryEnded(Transfer& transfer, CURLcode code) {
  const HttpRequest& request = transfer.request;
  const int status = transfer.response.status;
  if (transfer.error)
    std::rethrow_exception(transfer.error);
  if (code != CURLE_OK && !transfer.read_enough) {
    const std::optional<uint64_t> end = request.end_byte ? request.end_byte : request.expected_bytes;
    const bool whole = transfer.streams() && transfer.written > 0 && end == transfer.written;
    if (!whole) {
      if (transfer.probes_tls && transfer.LacksTls(code))
        throw NoTls{};
      if (!request.retries || !transfer.WasLost(code) || !Pause(transfer, std::nullopt))
        throw transfer.NetworkError(code);
      return;
    }
  } else if (KeepsMethod(status) || (IsRedirect(status) && ChangesNothing(request.method))) {
    Follow(transfer);
    return;
  } else if (IsTransientStatus(status) && request.retries) {
    const auto asked = ParseRetryAfter(transfer.response.Header("retry-after"), std::chrono::system_clock::now());
    if (Pause(transfer, asked))
      return;
  }
  Complete(transfer, nullptr);
}

void HttpClient::Engine::Ended(Transfer& transfer, CURLcode code) {
  curl_multi_remove_handle(multi_.get(), transfer.easy.get());
  transfer.ReadEnd();
  try {
    TryEnded(transfer, code);
  } catch (...) {
    Complete(transfer, std::current_exception());
  }
}

void HttpClient::Engine::SendDue() {
  std::vector<Transfer*> due;
  for (const auto& [number, transfer] : running_) {
    if (transfer->not_before && *transfer->not_before <= Clock::now())
      due.push_back(transfer.get());
  }
  for (Transfer* transfer : due) {
    transfer->not_before.reset();
    Send(*transfer);
  }
}

milliseconds HttpClient::Engine::UntilDue() const {
  milliseconds until{1000};
  for (const auto& [number, transfer] : running_) {
    if (transfer->not_before)
      until = std::min(until, std::chrono::ceil<milliseconds>(*transfer->not_before - Clock::now()));
  }
  return std::max(until, milliseconds{0});
}

void HttpClient::Engine::Turn() {
  SendDue();
  int active = 0;
  if (const CURLMcode code = curl_multi_perform(multi_.get(), &active); code != CURLM_OK)
    throw Error(ErrorKind::kFailed, std::string("libcurl: ") + curl_multi_strerror(code));
  int left = 0;
  bool any = false;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    void* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    Ended(*static_cast<Transfer*>(transfer), message->data.result);
    any = true;
  }
  if (!any && finished_.empty())
    curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(UntilDue().count()), nullptr);
}

HttpClient::Finished HttpClient::Engine::Wait(std::optional<int> transfer) {
  while (true) {
    const auto found = std::find_if(finished_.begin(), finished_.end(), [&](const Finished& finished) {
      return !transfer || finished.transfer == *transfer;
    });
    if (found != finished_.end()) {
      Finished out = std::move(*found);
      finished_.erase(found);
      return out;
    }
    if (running_.empty())
      throw Error(ErrorKind::kFailed, "waiting for a transfer when none runs");
    Turn();
  }
}

void HttpClient::Engine::Cancel(int transfer) {
  if (const auto found = running_.find(transfer); found != running_.end()) {
    if (found->second->easy)
      curl_multi_remove_handle(multi_.get(), found->second->easy.get());
    running_.erase(found);
  }
  std::erase_if(finished_, [&](const Finished& finished) { return finished.transfer == transfer; });
}

HttpClient::HttpClient(const HttpOptions& options) : options_(options), engine_(std::make_unique<Engine>(options_)) {}

HttpClient::~HttpClient() = default;

HttpResponse HttpClient::Send(HttpRequest request) {
  Finished finished = engine_->Wait(engine_->Start(std::move(request), nullptr));
  if (finished.error)
    std::rethrow_exception(finished.error);
  return std::move(finished.response);
}

bool HttpClient::SpeaksTls(const HttpRequest& request) {
  const std::string origin = request.url.Origin();
  auto known = with_tls_.find(origin);
  if (known == with_tls_.end()) {
    const Finished probed = engine_->Wait(engine_->Start(request, nullptr, true));
    try {
      if (probed.error)
        std::rethrow_exception(probed.error);
      known = with_tls_.emplace(origin, true).first;
    } catch (const NoTls&) {
      known = with_tls_.emplace(origin, false).first;
    }
  }
  return known->second;
}

int HttpClient::Start(HttpRequest request, BodyWriter write) {
  return engine_->Start(std::move(request), std::move(write));
}

void HttpClient::Cancel(int transfer) { engine_->Cancel(transfer); }

HttpClient::Finished HttpClient::WaitAny() { return engine_->Wait(std::nullopt); }

}  // namespace gantry::image
