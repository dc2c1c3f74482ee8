// HTTP as registries need it: many requests at once on one thread, every limit set, nothing leaked on the way.
//
// A client drives all its transfers from the thread that calls Send or WaitAny; it has no thread of its own and needs
// no lock. HTTP/1.1 with keep-alive, HTTP/2 where TLS offers it, but not for large bodies of ours: its flow control
// slows them down. What it does by itself:
//   redirects   at most kMaxRedirects; never from https to http, never inwards (MayLead, checked on the address that
//               is really connected to); Authorization goes only to the origin that it was meant for; a request that
//               changes something follows those only that keep its method
//   retries     connection losses, 408, 429 and 5xx for at most `max_tries` with growing jittered pauses, or the pause
//               that Retry-After asks for; a streamed body goes on where it broke off (Range). A host that has asked
//               for a pause gets it from all clients that share their options
//   limits      header bytes, body bytes, time to connect, time without a byte
//   http        without TLS only to loopback, or with `allow_http`
// Proxies come from the environment (https_proxy, http_proxy, all_proxy, no_proxy), certificate authorities from
// SSL_CERT_FILE, SSL_CERT_DIR or the system. Neither credentials nor queries of URLs appear in errors.
// Owns libcurl.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/stream.h"
#include "libimage/transport/url.h"

namespace gantry::image {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxResponseHeaderBytes = 256 * 1024;  // of one response
constexpr size_t kMaxErrorBodyBytes = 64 * 1024;        // kept of an answer that is not 2xx

// Which hosts want to be left alone, and until when. Thread-safe.
class HostPauses {
 public:
  using Clock = std::chrono::steady_clock;
  void Ask(const std::string& origin, Clock::time_point until);
  // nullopt when it may be asked now.
  std::optional<Clock::time_point> Until(const std::string& origin) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Clock::time_point> until_;
};

// What certs.d has for one host, in PEM (certificates.h).
struct HostCertificates {
  std::string authorities;  // beside those of the system
  std::string certificate;  // ours, and its key; both empty when there is none
  std::string key;
};

struct HttpOptions {
  bool verify_tls = true;
  bool allow_http = false;                                    // to hosts other than loopback
  std::map<std::string, HostCertificates> certificates = {};  // by Url::Origin
  std::chrono::milliseconds connect_timeout{30'000};
  std::chrono::seconds stall_timeout{60};    // without a single byte
  std::chrono::seconds answer_timeout{300};  // the same, for a server that has to digest what it was sent
  int max_tries = 5;
  std::chrono::milliseconds first_pause{500};
  std::chrono::milliseconds longest_pause{60'000};  // a server that asks for more is not asked again
  std::shared_ptr<HostPauses> pauses = std::make_shared<HostPauses>();  // copies share it
  // Told what registries say beside their answers: how many requests they still take, warnings. From any thread; may be
  // empty.
  std::function<void(const std::string&)> note = {};
};

struct HttpRequest {
  std::string method = "GET";
  Url url;
  std::vector<std::string> headers;  // "Name: value"
  std::string authorization;         // value of that header
  std::span<const std::byte> body;   // borrowed; not for GET and HEAD
  // A body in place of that, which need not be in memory: the bytes of a file. `sent` is told of how many the
  // connection has got; each try begins anew. kCorrupt when the file ends before them.
  std::optional<FileRange> file = std::nullopt;
  std::function<void(uint64_t)> sent = {};
  uint64_t first_byte = 0;  // Start: what lies before it is here already
  // Start: the first byte that is not wanted; kNetwork when the server does not keep to the range.
  std::optional<uint64_t> end_byte = std::nullopt;
  bool retries = true;  // false: a loss or a passing failure is the caller's to mend
  // Set when a server in that zone named `url`.
  std::optional<NetworkZone> led_by;
  size_t max_body_bytes = 0;               // Send: longer is kCorrupt
  std::optional<uint64_t> expected_bytes;  // Start: more is kCorrupt; a loss after the last byte is none
  std::string what;                        // "manifest of 'x'", for errors
  bool may_be_plain = false;  // for RegistryClient: https stands for the scheme that is still to be found out
};

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;                                          // of a failed Start too, as far as kMaxErrorBodyBytes
  NetworkZone zone = NetworkZone::kPublic;                   // of who answered last
  bool ok() const { return status >= 200 && status < 300; }
  std::string_view Header(std::string_view name) const;  // the first, empty when absent
  std::vector<std::string> AllHeaders(std::string_view name) const;
};

class HttpClient {
 public:
  using BodyWriter = std::function<void(std::span<const std::byte>)>;

  explicit HttpClient(const HttpOptions& options);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();  // abandons what runs

  // The whole answer, whatever its status. Other transfers go on meanwhile. Throws kNetwork when there is no answer.
  HttpResponse Send(HttpRequest request);
  HttpResponse Get(HttpRequest request) { return Send(std::move(request)); }

  // Whether the server of this https URL speaks TLS; kNetwork when there is none. Nothing but a handshake, once.
  bool SpeaksTls(const HttpRequest& request);

  // Starts a transfer of a body that never changes: bytes of a 2xx answer go to `write` as they come, each once and
  // in order. What `write` throws ends this transfer and comes out of WaitAny. Returns its number.
  int Start(HttpRequest request, BodyWriter write);

  // Waits until a started transfer has ended. One must be running.
  struct Finished {
    int transfer = 0;
    HttpResponse response;
    std::exception_ptr error;  // set when there is no answer, or not a whole one
  };
  Finished WaitAny();

  // Ends a started transfer without another word from it; no error when it has ended.
  void Cancel(int transfer);

  const HttpOptions& options() const { return options_; }

 private:
  class Engine;
  HttpOptions options_;
  std::map<std::string, bool> with_tls_;  // by origin, as SpeaksTls has found out
  std::unique_ptr<Engine> engine_;
};

// Answers that may be others a moment later: 408, 429, and what says that the server is not well.
bool IsTransientStatus(int status);

// How long to wait after the `tries`th try, from 1: jittered, growing, bounded by `options`.
std::chrono::milliseconds PauseAfter(int tries, const HttpOptions& options);

// Seconds to wait by a Retry-After header (RFC 9110, 10.2.3: seconds, or a date seen from `now`); nullopt when it says
// nothing usable.
std::optional<std::chrono::seconds> ParseRetryAfter(std::string_view value, std::chrono::system_clock::time_point now);

// What a Content-Range header says ("bytes 10-19/20"; the size may be "*"); nullopt when malformed.
struct ContentRange {
  uint64_t first = 0;
  uint64_t last = 0;
  std::optional<uint64_t> size;
};
std::optional<ContentRange> ParseContentRange(std::string_view value);

}  // namespace gantry::image
