#include "libimage/transport/http_transfer.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>

#include "libimage/base/ascii.h"
#include "libimage/base/fd.h"

namespace gantry::image {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxHeaders = 1000;
constexpr milliseconds kProbeTimeout{5'000};
// Larger bodies of ours go by HTTP/1.1.
constexpr size_t kLargeBodyBytes = 64 * 1024;
// libcurl makes a buffer for each request, which a small one has no use for.
constexpr uint64_t kSmallBufferBytes = 16 * 1024;
constexpr uint64_t kLargeBufferBytes = 512 * 1024;
static_assert(Transfer::kCurlErrorBytes >= CURL_ERROR_SIZE);

Transfer::HeaderList WithLine(Transfer::HeaderList list, const std::string& line) {
  // Tokens come from servers and files: none of them may add a header of its own.
  if (std::any_of(line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    throw Error(ErrorKind::kCorrupt, "a request header with a control character",
                "look at the credentials of this registry");
  curl_slist* grown = curl_slist_append(list.get(), line.c_str());
  if (grown == nullptr)
    throw std::bad_alloc();
  static_cast<void>(list.release());
  return Transfer::HeaderList(grown);
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

void Transfer::EasyDeleter::operator()(void* handle) const { curl_easy_cleanup(handle); }
void Transfer::ListDeleter::operator()(curl_slist* list) const { curl_slist_free_all(list); }

size_t Transfer::OnHeader(std::string_view line) {
  header_bytes += line.size();
  if (header_bytes > kMaxResponseHeaderBytes || response.headers.size() >= kMaxHeaders) {
    throw Error(ErrorKind::kNetwork, Where() + ": the response header is longer than " +
                                         std::to_string(kMaxResponseHeaderBytes) + " bytes or 1000 lines");
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
  if ((written > 0 || request.end_byte) && response.status == 206) {
    const auto range = ParseContentRange(response.Header("content-range"));
    const bool same_size = range && (!range->size || !request.expected_bytes || range->size == request.expected_bytes);
    if (!range || range->first != written || !same_size) {
      throw Error(ErrorKind::kNetwork, Where() + ": asked for the bytes from " + std::to_string(written) +
                                           ", got Content-Range " + Quoted(response.Header("content-range")));
    }
  } else if (response.status != 200 || request.end_byte) {
    throw Error(ErrorKind::kNetwork, Where() + ": unexpected status " + std::to_string(response.status));
  } else {
    skip = written;
  }
}

void Transfer::TakeBody(std::span<const std::byte> bytes) {
  const size_t skipped = static_cast<size_t>(std::min<uint64_t>(skip, bytes.size()));
  skip -= skipped;
  bytes = bytes.subspan(skipped);
  if (request.end_byte && bytes.size() > *request.end_byte - written)
    throw Error(ErrorKind::kNetwork, Where() + ": more bytes than were asked for");
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

size_t Transfer::OnRead(std::span<std::byte> into) {
  const FileRange& file = *request.file;
  into = into.first(static_cast<size_t>(std::min<uint64_t>(into.size(), file.size - taken)));
  if (ReadFullAt(file.fd->get(), file.offset + taken, into, request.what) < into.size())
    throw Error(ErrorKind::kCorrupt, request.what + ": the file that is sent has become shorter");
  if (request.sent)
    request.sent(taken);
  taken += into.size();
  return into.size();
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

size_t ReadCallback(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  return Caught<size_t>(transfer, CURL_READFUNC_ABORT,
                        [&] { return transfer.OnRead(std::as_writable_bytes(std::span(data, size * count))); });
}

// libcurl begins again by itself when a kept connection turns out to be lost.
int SeekCallback(void* user, curl_off_t offset, int origin) {
  if (origin != SEEK_SET)
    return CURL_SEEKFUNC_CANTSEEK;
  static_cast<Transfer*>(user)->taken = static_cast<uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

curl_socket_t OpenSocketCallback(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  return Caught<curl_socket_t>(transfer, CURL_SOCKET_BAD, [&] {
    if (!transfer.MayConnectTo(ZoneOfAddress(&address->addr)))
      return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  });
}

long BufferFor(uint64_t bytes) { return static_cast<long>(std::clamp(bytes, kSmallBufferBytes, kLargeBufferBytes)); }

void SetLimits(CURL* easy, const HttpOptions& options) {
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "gantry");
}

void SetBlob(CURL* easy, CURLoption option, const std::string& pem) {
  curl_blob blob{.data = const_cast<char*>(pem.data()), .len = pem.size(), .flags = CURL_BLOB_COPY};
  curl_easy_setopt(easy, option, &blob);
}

// libcurl goes on looking into its directory of authorities beside those that it is given.
void SetCertificates(CURL* easy, const HostCertificates& certificates) {
  if (!certificates.authorities.empty())
    SetBlob(easy, CURLOPT_CAINFO_BLOB, certificates.authorities);
  if (!certificates.certificate.empty()) {
    SetBlob(easy, CURLOPT_SSLCERT_BLOB, certificates.certificate);
    SetBlob(easy, CURLOPT_SSLKEY_BLOB, certificates.key);
  }
}

void SetTls(CURL* easy, const HttpOptions& options, const Url& url) {
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options.verify_tls ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options.verify_tls ? 2L : 0L);
  // The command curl reads these, the library does not.
  if (const char* file = Environment("SSL_CERT_FILE"); file != nullptr)
    curl_easy_setopt(easy, CURLOPT_CAINFO, file);
  if (const char* directory = Environment("SSL_CERT_DIR"); directory != nullptr)
    curl_easy_setopt(easy, CURLOPT_CAPATH, directory);
  if (const auto found = options.certificates.find(url.Origin()); found != options.certificates.end())
    SetCertificates(easy, found->second);
}

}  // namespace

bool Transfer::WasLost(int code) const {
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
      curl_easy_getinfo(easy.get(), CURLINFO_PRETRANSFER_TIME_T, &connected);
      return connected > 0;
    }
    default:
      return false;
  }
}

bool Transfer::LacksTls(int code) const {
  curl_off_t secured = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_APPCONNECT_TIME_T, &secured);
  const bool broke = code == CURLE_SSL_CONNECT_ERROR || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_RECV_ERROR ||
                     code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING;
  return secured == 0 && broke;
}

Error Transfer::NetworkError(int code) const {
  const std::string detail = curl_error[0] != '\0' ? std::string(curl_error.data())
                                                   : std::string(curl_easy_strerror(static_cast<CURLcode>(code)));
  std::string hint = "check the name of the registry and the connection";
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    hint = "point SSL_CERT_FILE at the registry's certificate authority, or give --insecure-options=tls";
  } else if (code == CURLE_SSL_CONNECT_ERROR) {
    hint = "if the registry speaks plain http, give --insecure-options=http";
  } else if (WasLost(code)) {
    hint = "the connection broke on every try; try again later";
  }
  // Quoted: the text may repeat what the server said.
  return {ErrorKind::kNetwork, Where() + ": " + Quoted(detail), hint};
}

void Transfer::CheckAllowed(const HttpOptions& options) const {
  const std::optional<NetworkZone> zone = ZoneOfHost(url->host());
  if (!url->https() && zone != NetworkZone::kLoopback && !options.allow_http) {
    throw Error(ErrorKind::kNetwork, Where() + ": plain http is allowed to loopback only",
                "--insecure-options=http allows it for this command");
  }
  if (led_by && zone && !MayLead(*led_by, *zone)) {
    throw Error(ErrorKind::kNetwork, Where() + ": the server sent us to an address inside the local network",
                "a registry on the Internet must not point there; name the inner server itself if you trust it");
  }
}

void Transfer::SetMethod(const HttpOptions& options) {
  if (request.method == "GET")
    return;
  if (request.method == "HEAD") {
    curl_easy_setopt(easy.get(), CURLOPT_NOBODY, 1L);
    return;
  }
  curl_easy_setopt(easy.get(), CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.answer_timeout.count()));
  curl_easy_setopt(easy.get(), CURLOPT_POST, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_CUSTOMREQUEST, request.method.c_str());
  SetBody();
}

void Transfer::SetBody() {
  const uint64_t size = request.file ? request.file->size : request.body.size();
  if (request.file && size > 0) {
    curl_easy_setopt(easy.get(), CURLOPT_READFUNCTION, ReadCallback);
    curl_easy_setopt(easy.get(), CURLOPT_READDATA, this);
    curl_easy_setopt(easy.get(), CURLOPT_SEEKFUNCTION, SeekCallback);
    curl_easy_setopt(easy.get(), CURLOPT_SEEKDATA, this);
  } else {
    // Not copied; an empty body needs a pointer all the same.
    curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDS, size == 0 ? "" : AsText(request.body).data());
  }
  curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(size));
  curl_easy_setopt(easy.get(), CURLOPT_UPLOAD_BUFFERSIZE, BufferFor(size));
  if (size > kLargeBodyBytes)
    curl_easy_setopt(easy.get(), CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
}

void Transfer::SetHeaders() {
  HeaderList list;
  // What libcurl would add to a body by itself.
  list = WithLine(std::move(list), "Expect:");
  if (std::none_of(request.headers.begin(), request.headers.end(),
                   [](const std::string& line) { return LowerAscii(line).starts_with("content-type:"); }))
    list = WithLine(std::move(list), "Content-Type:");
  for (const std::string& line : request.headers) list = WithLine(std::move(list), line);
  if (!request.authorization.empty() && url->Origin() == request.url.Origin())
    list = WithLine(std::move(list), "Authorization: " + request.authorization);
  if (written > 0 || request.end_byte) {
    const std::string last = request.end_byte ? std::to_string(*request.end_byte - 1) : "";
    list = WithLine(std::move(list), "Range: bytes=" + std::to_string(written) + "-" + last);
  }
  headers = std::move(list);
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
}

void Transfer::SetCallbacks() {
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, curl_error.data());
  curl_easy_setopt(easy.get(), CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, HeaderCallback);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, WriteCallback);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy.get(), CURLOPT_OPENSOCKETFUNCTION, OpenSocketCallback);
  curl_easy_setopt(easy.get(), CURLOPT_OPENSOCKETDATA, this);
}

void Transfer::Prepare(const HttpOptions& options) {
  CheckAllowed(options);
  easy.reset(curl_easy_init());
  if (!easy)
    throw std::bad_alloc();
  response = {};
  header_bytes = 0;
  body_begun = read_enough = false;
  taken = 0;
  error = nullptr;
  SetLimits(easy.get(), options);
  curl_easy_setopt(easy.get(), CURLOPT_BUFFERSIZE,
                   BufferFor(streams() ? request.expected_bytes.value_or(kLargeBufferBytes) : kSmallBufferBytes));
  SetTls(easy.get(), options, *url);
  SetMethod(options);
  SetHeaders();
  SetCallbacks();
  curl_easy_setopt(easy.get(), CURLOPT_URL, url->str().c_str());
  if (probes_tls) {
    const milliseconds timeout = std::min(kProbeTimeout, options.connect_timeout);
    curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeout.count()));
    curl_easy_setopt(easy.get(), CURLOPT_CONNECT_ONLY, 1L);
    // Reading the authorities costs more than all else of a small request. But who we are is not for anybody.
    const auto certificates = options.certificates.find(url->Origin());
    if (certificates == options.certificates.end() || certificates->second.certificate.empty())
      curl_easy_setopt(easy.get(), CURLOPT_SSL_VERIFYPEER, 0L);
  }
  // A proxy has no business between us and our own machine, whatever no_proxy says.
  if (ZoneOfHost(url->host()) == NetworkZone::kLoopback)
    curl_easy_setopt(easy.get(), CURLOPT_NOPROXY, "*");
}

void Transfer::ReadEnd() {
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  response.status = static_cast<int>(status);
  char* address = nullptr;
  curl_easy_getinfo(easy.get(), CURLINFO_PRIMARY_IP, &address);
  const auto named = ZoneOfHost(url->host());
  const bool direct = address != nullptr && !ProxyConfigured(*url);
  response.zone = named.value_or(direct ? ZoneOfHost(address).value_or(NetworkZone::kPublic) : NetworkZone::kPublic);
}

}  // namespace gantry::image
