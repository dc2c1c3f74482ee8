#include "runner/metadata.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "runner/pod_record.h"

namespace gantry::runner {
namespace {

constexpr std::string_view kEndOfHead = "\r\n\r\n";
constexpr std::string_view kVersion = "/acMetadata/v1/";
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kText = "text/plain; charset=us-ascii";
constexpr std::string_view kForm = "application/x-www-form-urlencoded";
constexpr size_t kMaxFields = 16;

struct Answer {
  int status = 200;
  std::string_view type = kText;
  std::string_view body = {};
  std::string own = {};  // a body that nobody else has
};

struct Request {
  std::string_view method, path;
  bool form = false;
  std::string_view body;
};

using Form = std::map<std::string, std::string>;

std::string_view Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Not Implemented";
  }
}

std::string Print(const Answer& answer) {
  const std::string_view body = answer.own.empty() ? answer.body : std::string_view(answer.own);
  std::string out = "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(Reason(answer.status)) + "\r\n";
  if (answer.status == 200)
    out += "Content-Type: " + std::string(answer.type) + "\r\n";
  out += "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n";
  return out.append(body);
}

// Takes as long whatever is alike.
bool SameSecret(std::string_view a, std::string_view b) {
  unsigned char different = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) different |= static_cast<unsigned char>(a[i] ^ b[i]);
  return different == 0;
}

// The value of a header, if it is there; `twice` when that is said more than once.
std::optional<std::string_view> Header(std::string_view head, std::string_view name, bool& twice) {
  std::optional<std::string_view> out;
  for (size_t begin = head.find("\r\n"); begin != std::string_view::npos;) {
    begin += 2;
    const size_t end = head.find("\r\n", begin);
    const std::string_view line = head.substr(begin, end == std::string_view::npos ? end : end - begin);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && LowerAscii(line.substr(0, colon)) == name) {
      twice = twice || out;
      out = Trimmed(line.substr(colon + 1));
    }
    begin = end;
  }
  return out;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> Decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low < 0)
      return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

// nullopt for what is none, or has a field twice.
std::optional<Form> ParseForm(std::string_view text) {
  Form out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('&', begin), text.size());
    const std::string_view field = text.substr(begin, end - begin);
    const size_t equals = std::min(field.find('='), field.size());
    auto name = Decoded(field.substr(0, equals));
    auto value = Decoded(field.substr(std::min(equals + 1, field.size())));
    if (!name || !value || out.size() == kMaxFields || !out.emplace(*std::move(name), *std::move(value)).second)
      return std::nullopt;
    begin = end + 1;
  }
  return out;
}

std::string Signature(const PodMetadata& metadata, std::string_view uuid, std::string_view content) {
  return HmacSha512(HmacSha512(metadata.secret, uuid), content);
}

Answer Sign(const PodMetadata& metadata, const Form& form) {
  const auto content = form.find("content");
  if (content == form.end())
    return {400};
  return {200, kText, {}, EncodeBase64(Signature(metadata, metadata.uuid, content->second))};
}

Answer Verify(const PodMetadata& metadata, const Form& form) {
  const auto content = form.find("content");
  const auto uuid = form.find("uuid");
  const auto signature = form.find("signature");
  if (content == form.end() || uuid == form.end() || signature == form.end() || !IsUuid(uuid->second))
    return {400};
  const auto bytes = DecodeBase64(signature->second);
  if (!bytes)
    return {400};
  return {SameSecret(*bytes, Signature(metadata, uuid->second, content->second)) ? 200 : 403};
}

Answer Post(const PodMetadata& metadata, const Request& request, Answer (*answer)(const PodMetadata&, const Form&)) {
  if (request.method != "POST")
    return {405};
  if (!request.form)
    return {415};
  const auto form = ParseForm(request.body);
  return form ? answer(metadata, *form) : Answer{400};
}

Answer OfApp(const PodMetadata& metadata, std::string_view path) {
  const size_t slash = path.find('/');
  const auto app = std::ranges::find(metadata.apps, path.substr(0, slash), &AppMetadata::name);
  if (slash == std::string_view::npos || app == metadata.apps.end())
    return {404};
  const std::string_view what = path.substr(slash + 1);
  if (what == "annotations")
    return {200, kJson, app->annotations};
  if (what == "image/manifest" && !app->image_manifest.empty())
    return {200, kJson, app->image_manifest};
  return what == "image/id" ? Answer{200, kText, app->image_id} : Answer{404};
}

Answer Route(const PodMetadata& metadata, const Request& request) {
  std::string_view path = request.path.substr(0, request.path.find('?'));
  const size_t end = path.find('/', 1);
  if (!path.starts_with('/') ||
      !SameSecret(path.substr(1, end == std::string_view::npos ? end : end - 1), metadata.token))
    return {403};
  path.remove_prefix(std::min(end, path.size()));
  if (!path.starts_with(kVersion))
    return {404};
  path.remove_prefix(kVersion.size());
  if (path.ends_with('/'))
    path.remove_suffix(1);
  if (path == "pod/hmac/sign")
    return Post(metadata, request, Sign);
  if (path == "pod/hmac/verify")
    return Post(metadata, request, Verify);
  if (request.method != "GET")
    return {405};
  if (path == "pod/annotations")
    return {200, kJson, metadata.annotations};
  if (path == "pod/manifest")
    return {200, kJson, metadata.manifest};
  if (path == "pod/uuid")
    return {200, kText, metadata.uuid};
  return path.starts_with("apps/") ? OfApp(metadata, path.substr(5)) : Answer{404};
}

// METHOD SP PATH SP HTTP/1.x
std::optional<Request> ParseRequestLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t second = line.find(' ', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos || !line.substr(second + 1).starts_with("HTTP/1."))
    return std::nullopt;
  return Request{line.substr(0, first), line.substr(first + 1, second - first - 1), false, {}};
}

}  // namespace

std::string NewMetadataToken() {
  std::array<char, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    ThrowErrno("read random bytes");
  return HexOf({bytes.data(), bytes.size()});
}

std::optional<std::string> AnswerRequest(const PodMetadata& metadata, std::string_view received) {
  const size_t end = received.substr(0, kMaxRequestHead).find(kEndOfHead);
  if (end == std::string_view::npos)
    return received.size() < kMaxRequestHead ? std::nullopt : std::optional(Print({431}));
  const std::string_view head = received.substr(0, end);
  auto request = ParseRequestLine(head.substr(0, head.find("\r\n")));
  if (!request)
    return Print({400});
  bool twice = false;
  if (Header(head, "transfer-encoding", twice))
    return Print({501});
  const auto length = Header(head, "content-length", twice);
  const auto type = Header(head, "content-type", twice);
  const auto size = length ? ParseDecimal<size_t>(*length) : std::optional<size_t>(0);
  if (twice || !size)
    return Print({400});
  if (*size > kMaxRequestBody)
    return Print({413});
  const std::string_view rest = received.substr(end + kEndOfHead.size());
  if (rest.size() < *size)
    return std::nullopt;
  request->body = rest.substr(0, *size);
  request->form = type && LowerAscii(Trimmed(type->substr(0, type->find(';')))) == kForm;
  return Print(Route(metadata, *request));
}

}  // namespace gantry::runner
