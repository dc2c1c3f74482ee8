#include "libimage/transport/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// A transfer that made this much headway before it broke has all its tries again.
constexpr uint64_t kHeadwayBytes = 1024 * 1024;
constexpr size_t kMaxHeaders = 1000;

constexpr milliseconds kProbeTimeout{5'000};

struct NoTls {};  // thrown through Engine::Wait to GetOverTls only

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

HeaderList WithLine(HeaderList list, const std::string& line) {
  // Tokens come from servers and files: none of them may add a header of its own.
  if (std::any_of(line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    throw Error(ErrorKind::kCorrupt, "a request header with a control character",
                "look at the credentials of this registry");
  curl_slist* grown = curl_slist_append(list.get(), line.c_str());
  if (grown == nullptr)
    throw std::bad_alloc();
  static_cast<void>(list.release());
  return HeaderList(grown);
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool IsTransient(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

const char* Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

// The address that a proxy connects to is not ours to see.
bool ProxyConfigured(const Url& url) {
  const bool by_scheme = url.https() ? Environment("https_proxy") != nullptr || Environment("HTTPS_PROXY") != nullptr
                                     : Environment("http_proxy") != nullptr;
  return by_scheme || Environment("all_proxy") != nullptr || Environment("ALL_PROXY") != nullptr;
}

NetworkZone ZoneOfAddress(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text.data(), text.size());
  } else if (address->sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text.data(), text.size());
  }
  return ZoneOfHost(text.data()).value_or(NetworkZone::kPublic);
}

}  // namespace

// One request on its way through redirects and retries. Lives at a fixed address: libcurl holds pointers to it.
struct Transfer {
  int number = 0;
  HttpRequest request;
  HttpClient::BodyWriter write;  // empty for Get
  bool streams() const { return write != nullptr; }
  bool probes_tls = false;  // one quick try; that the peer has no TLS is an answer

  // This hop.
  std::optional<Url> url;
  std::optional<NetworkZone> led_by;
  int redirects = 0;
  std::unique_ptr<CURL, EasyDeleter> easy;
  HeaderList headers;
  std::array<char, CURL_ERROR_SIZE> curl_error{};
  HttpResponse response;
  size_t header_bytes = 0;
  bool body_begun = false;
  bool read_enough = false;  // of an error's body; the rest is not wanted
  uint64_t skip = 0;         // bytes that an answer without Range repeats
  std::exception_ptr error;  // thrown in a callback

  // Over all tries.
  int tries = 0;
  uint64_t written = 0;  // bytes of the body that `write` has seen
  uint64_t written_at_last_loss = 0;
  std::optional<Clock::time_point> not_before;  // set while it pauses

  std::string Where() const { return request.what + ": " + Quoted(url->Shown()); }
  size_t OnHeader(std::string_view line);
  size_t OnBody(std::span<const std::byte> bytes);
  void BeginBody();
  void TakeBody(std::span<const std::byte> bytes);
  bool MayConnectTo(NetworkZone zone);
};

size_t Transfer::OnHeader(std::string_view line) {
  header_bytes += line.size();
  if (header_bytes > kMaxHeaderBytes || response.headers.size() >= kMaxHeaders) {
    throw Error(ErrorKind::kNetwork, Where() + ": the response header is longer than " +
                                         std::to_string(kMaxHeaderBytes) + " bytes or 1000 lines");
  }
  if (line.starts_with("HTTP/")) {
    // Also after "100 Continue" and a proxy's own answer: what counts is the last.
    response.headers.clear();
    return line.size();
  }
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    response.headers.emplace_back(LowerAscii(line.substr(0, colon)), std::string(Trimmed(line.substr(colon + 1))));
  }
  return line.size();
}

void Transfer::BeginBody() {
  body_begun = true;
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  response.status = static_cast<int>(status);
  if (!streams() || !response.ok())
    return;
  skip = 0;
  if (written > 0 && response.status == 206) {
    if (ParseContentRangeStart(response.Header("content-range")) != written) {
      throw Error(ErrorKind::kNetwork, Where() + ": asked for the bytes from " + std::to_string(written) +
                                           ", got Content-Range " + Quoted(response.Header("content-range")));
    }
  } else if (response.status != 200) {
    throw Error(ErrorKind::kNetwork, Where() + ": unexpected status " + std::to_string(response.status));
  } else {
    skip = written;
  }
}

void Transfer::TakeBody(std::span<const std::byte> bytes) {
  const size_t skipped = static_cast<size_t>(std::min<uint64_t>(skip, bytes.size()));
  skip -= skipped;
  bytes = bytes.subspan(skipped);
  if (request.expected_bytes && bytes.size() > *request.expected_bytes - written) {
    throw Error(ErrorKind::kCorrupt,
                Where() + ": longer than the " + std::to_string(*request.expected_bytes) + " bytes expected");
  }
  if (!bytes.empty()) {
    write(bytes);
    written += bytes.size();
  }
}

size_t Transfer::OnBody(std::span<const std::byte> bytes) {
  if (!body_begun)
    BeginBody();
  if (response.ok() && streams()) {
    TakeBody(bytes);
    return bytes.size();
  }
  const size_t limit = response.ok() ? request.max_body_bytes : kMaxErrorBodyBytes;
  const size_t room = limit - response.body.size();
  if (bytes.size() > room && response.ok()) {
    throw Error(ErrorKind::kCorrupt, Where() + ": longer than " + std::to_string(limit) + " bytes");
  }
  response.body.append(AsText(bytes.first(std::min(room, bytes.size()))));
  if (bytes.size() > room) {
    read_enough = true;
    return 0;
  }
  return bytes.size();
}

bool Transfer::MayConnectTo(NetworkZone zone) {
  if (!led_by || ProxyConfigured(*url) || MayLead(*led_by, zone))
    return true;
  throw Error(ErrorKind::kNetwork, Where() + ": the server sent us to an address inside the local network",
              "a registry on the Internet must not point there; name the inner server itself if you trust it");
}

namespace {

// Exceptions must not pass through libcurl's frames: they wait in the transfer.
template <typename Result, typename Body>
Result Caught(Transfer& transfer, Result failure, Body body) {
  try {
    return body();
  } catch (...) {
    transfer.error = std::current_exception();
    return failure;
  }
}

size_t HeaderCallback(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  return Caught<size_t>(transfer, 0, [&] { return transfer.OnHeader({data, size * count}); });
}

size_t WriteCallback(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  return Caught<size_t>(transfer, 0, [&] { return transfer.OnBody(AsBytes({data, size * count})); });
}

curl_socket_t OpenSocketCallback(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  return Caught<curl_socket_t>(transfer, CURL_SOCKET_BAD, [&] {
    if (!transfer.MayConnectTo(ZoneOfAddress(&address->addr)))
      return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  });
}

void SetLimits(CURL* easy, const HttpOptions& options) {
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 512L * 1024);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "gantry");
}

void SetTls(CURL* easy, const HttpOptions& options) {
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options.verify_tls ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options.verify_tls ? 2L : 0L);
  // The command curl reads these, the library does not.
  if (const char* file = Environment("SSL_CERT_FILE"); file != nullptr)
    curl_easy_setopt(easy, CURLOPT_CAINFO, file);
  if (const char* directory = Environment("SSL_CERT_DIR"); directory != nullptr)
    curl_easy_setopt(easy, CURLOPT_CAPATH, directory);
}

// Whether the peer would not or could not begin TLS.
bool LacksTls(CURL* easy, CURLcode code) {
  curl_off_t secured = 0;
  curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &secured);
  const bool broke = code == CURLE_SSL_CONNECT_ERROR || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_RECV_ERROR ||
                     code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING;
  return secured == 0 && broke;
}

// Broken connections are worth another try; a host that does not exist, refuses or has a bad certificate is not.
bool WasLost(CURL* easy, CURLcode code) {
  switch (code) {
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    case CURLE_OPERATION_TIMEDOUT: {
      curl_off_t connected = 0;
      curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
      return connected > 0;
    }
    default:
      return false;
  }
}

Error NetworkError(const Transfer& transfer, CURLcode code) {
  const std::string detail =
      transfer.curl_error[0] != '\0' ? std::string(transfer.curl_error.data()) : std::string(curl_easy_strerror(code));
  std::string hint = "check the name of the registry and the connection";
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    hint = "point SSL_CERT_FILE at the registry's certificate authority, or give --insecure-options=tls";
  } else if (code == CURLE_SSL_CONNECT_ERROR) {
    hint = "if the registry speaks plain http, give --insecure-options=http";
  } else if (WasLost(transfer.easy.get(), code)) {
    hint = "the connection broke on every try; try again later";
  }
  // Quoted: the text may repeat what the server said.
  return {ErrorKind::kNetwork, transfer.Where() + ": " + Quoted(detail), hint};
}

}  // namespace

class HttpClient::Engine {
 public:
  explicit Engine(const HttpOptions& options);
  ~Engine();
  int Start(HttpRequest request, BodyWriter write, bool probes_tls = false);
  Finished Wait(std::optional<int> transfer);
  void Cancel(int transfer);

 private:
  void Send(Transfer& transfer);
  void CheckAllowed(const Transfer& transfer) const;
  void Prepare(Transfer& transfer);
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
  std::minstd_rand random_{std::random_device{}()};
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

void HttpClient::Engine::CheckAllowed(const Transfer& transfer) const {
  const Url& url = *transfer.url;
  const std::optional<NetworkZone> zone = ZoneOfHost(url.host());
  if (!url.https() && zone != NetworkZone::kLoopback && !options_.allow_http) {
    throw Error(ErrorKind::kNetwork, transfer.Where() + ": plain http is allowed to loopback only",
                "--insecure-options=http allows it for this command");
  }
  if (transfer.led_by && zone && !MayLead(*transfer.led_by, *zone)) {
    throw Error(ErrorKind::kNetwork, transfer.Where() + ": the server sent us to an address inside the local network",
                "a registry on the Internet must not point there; name the inner server itself if you trust it");
  }
}

void HttpClient::Engine::Prepare(Transfer& transfer) {
  transfer.easy.reset(curl_easy_init());
  CURL* easy = transfer.easy.get();
  if (easy == nullptr)
    throw std::bad_alloc();
  transfer.response = {};
  transfer.header_bytes = 0;
  transfer.body_begun = transfer.read_enough = false;
  transfer.error = nullptr;
  SetLimits(easy, options_);
  SetTls(easy, options_);
  HeaderList headers;
  for (const std::string& line : transfer.request.headers) headers = WithLine(std::move(headers), line);
  if (!transfer.request.authorization.empty() && transfer.url->Origin() == transfer.request.url.Origin())
    headers = WithLine(std::move(headers), "Authorization: " + transfer.request.authorization);
  if (transfer.written > 0)
    headers = WithLine(std::move(headers), "Range: bytes=" + std::to_string(transfer.written) + "-");
  transfer.headers = std::move(headers);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers.get());
  curl_easy_setopt(easy, CURLOPT_URL, transfer.url->str().c_str());
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.curl_error.data());
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, HeaderCallback);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, WriteCallback);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, OpenSocketCallback);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &transfer);
  if (transfer.probes_tls) {
    const milliseconds timeout = std::min(kProbeTimeout, options_.connect_timeout);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeout.count()));
  }
  // A proxy has no business between us and our own machine, whatever no_proxy says.
  if (ZoneOfHost(transfer.url->host()) == NetworkZone::kLoopback)
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
}

void HttpClient::Engine::Send(Transfer& transfer) {
  try {
    CheckAllowed(transfer);
    Prepare(transfer);
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
  const auto doubled = options_.first_pause * (int64_t{1} << std::min(transfer.tries - 1, 10));
  const auto longest = std::min<milliseconds>(doubled, options_.longest_pause).count();
  const milliseconds pause(std::uniform_int_distribution<int64_t>(longest / 2, longest)(random_));
  transfer.not_before = Clock::now() + std::max<milliseconds>(pause, asked.value_or(std::chrono::seconds(0)));
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
  if (transfer.error)
    std::rethrow_exception(transfer.error);
  if (code != CURLE_OK && !transfer.read_enough) {
    const bool whole = transfer.streams() && transfer.written > 0 && request.expected_bytes == transfer.written;
    if (!whole) {
      if (transfer.probes_tls && LacksTls(transfer.easy.get(), code))
        throw NoTls{};
      if (!WasLost(transfer.easy.get(), code) || !Pause(transfer, std::nullopt))
        throw NetworkError(transfer, code);
      return;
    }
  } else if (IsRedirect(transfer.response.status)) {
    Follow(transfer);
    return;
  } else if (IsTransient(transfer.response.status)) {
    const auto asked = ParseRetryAfter(transfer.response.Header("retry-after"), std::chrono::system_clock::now());
    if (Pause(transfer, asked))
      return;
  }
  Complete(transfer, nullptr);
}

void HttpClient::Engine::Ended(Transfer& transfer, CURLcode code) {
  CURL* easy = transfer.easy.get();
  curl_multi_remove_handle(multi_.get(), easy);
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  char* address = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
  const auto named = ZoneOfHost(transfer.url->host());
  const bool direct = address != nullptr && !ProxyConfigured(*transfer.url);
  transfer.response.zone = named.value_or(direct ? ZoneOfHost(address).value_or(NetworkZone::kPublic)  //
                                                 : NetworkZone::kPublic);
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

HttpResponse HttpClient::Get(HttpRequest request) {
  Finished finished = engine_->Wait(engine_->Start(std::move(request), nullptr));
  if (finished.error)
    std::rethrow_exception(finished.error);
  return std::move(finished.response);
}

std::optional<HttpResponse> HttpClient::GetOverTls(HttpRequest request) {
  Finished finished = engine_->Wait(engine_->Start(std::move(request), nullptr, true));
  try {
    if (finished.error)
      std::rethrow_exception(finished.error);
  } catch (const NoTls&) {
    return std::nullopt;
  }
  return std::move(finished.response);
}

int HttpClient::Start(HttpRequest request, BodyWriter write) {
  return engine_->Start(std::move(request), std::move(write));
}

void HttpClient::Cancel(int transfer) { engine_->Cancel(transfer); }

HttpClient::Finished HttpClient::WaitAny() { return engine_->Wait(std::nullopt); }

}  // namespace gantry::image
