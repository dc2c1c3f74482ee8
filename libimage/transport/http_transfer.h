// One request on its way through redirects and retries. Private to the http module: the engine (http.cc) decides what
// comes next, this sets up each try in libcurl and takes its answer apart.
#pragma once

#include <array>
#include <chrono>
#include <memory>

#include "libimage/base/error.h"
#include "libimage/transport/http.h"

struct curl_slist;

namespace gantry::image {

// Lives at a fixed address: libcurl holds pointers to it.
struct Transfer {
  using Clock = std::chrono::steady_clock;
  struct EasyDeleter {
    void operator()(void* easy) const;
  };
  struct ListDeleter {
    void operator()(curl_slist* list) const;
  };
  using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;
  static constexpr size_t kCurlErrorBytes = 256;

  int number = 0;
  HttpRequest request;
  HttpClient::BodyWriter write;  // empty for Send
  bool streams() const { return write != nullptr; }
  bool probes_tls = false;  // nothing but the handshake, with anybody; that the peer has no TLS is an answer

  // This hop.
  std::optional<Url> url;
  std::optional<NetworkZone> led_by;
  int redirects = 0;
  std::unique_ptr<void, EasyDeleter> easy;
  HeaderList headers;
  std::array<char, kCurlErrorBytes> curl_error{};
  HttpResponse response;
  size_t header_bytes = 0;
  bool body_begun = false;
  bool read_enough = false;  // of an error's body; the rest is not wanted
  uint64_t taken = 0;        // bytes of the request's file that libcurl has got
  uint64_t skip = 0;         // bytes that an answer without Range repeats
  std::exception_ptr error;  // thrown in a callback

  // Over all tries.
  int tries = 0;
  uint64_t written = 0;  // bytes of the body that `write` has seen
  uint64_t written_at_last_loss = 0;
  std::optional<Clock::time_point> not_before;  // set while it pauses

  // Makes a new handle for the next try. Throws kNetwork for a place that must not be asked.
  void Prepare(const HttpOptions& options);
  // Completes the response of a try that has ended.
  void ReadEnd();

  // What a CURLcode of this try means. A lost connection is worth another try; a host that does not exist, refuses or
  // has a bad certificate is not.
  bool WasLost(int code) const;
  bool LacksTls(int code) const;
  Error NetworkError(int code) const;

  std::string Where() const { return request.what + ": " + Quoted(url->Shown()); }

  // Called by libcurl, by way of functions that keep exceptions out of its frames.
  size_t OnHeader(std::string_view line);
  size_t OnBody(std::span<const std::byte> bytes);
  size_t OnRead(std::span<std::byte> into);
  bool MayConnectTo(NetworkZone zone);

 private:
  void CheckAllowed(const HttpOptions& options) const;
  void SetCallbacks();
  void SetMethod(const HttpOptions& options);
  void SetBody();
  void SetHeaders();
  void BeginBody();
  void TakeBody(std::span<const std::byte> bytes);
};

}  // namespace gantry::image
