// What the headers of responses say.
#include <curl/curl.h>

#include <algorithm>
#include <limits>

#include "libimage/base/ascii.h"
#include "libimage/transport/http.h"

namespace gantry::image {
namespace {

constexpr std::chrono::seconds kLongestRetryAfter{std::numeric_limits<uint32_t>::max()};  // 136 years

}  // namespace

std::string_view HttpResponse::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name)
      return value;
  }
  return {};
}

std::vector<std::string> HttpResponse::AllHeaders(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : headers) {
    if (key == name)
      out.push_back(value);
  }
  return out;
}

std::optional<std::chrono::seconds> ParseRetryAfter(std::string_view value, std::chrono::system_clock::time_point now) {
  const std::string text(Trimmed(value));
  if (text.empty() || text.size() > 64)
    return std::nullopt;
  if (const auto seconds = ParseDecimal<uint32_t>(text))
    return std::chrono::seconds(*seconds);
  const time_t date = curl_getdate(text.c_str(), nullptr);
  if (date < 0)
    return std::nullopt;
  // In seconds: nanoseconds end in the year 2262, and a server may say any.
  const auto wait = std::chrono::seconds(date) - std::chrono::floor<std::chrono::seconds>(now.time_since_epoch());
  return std::clamp(wait, std::chrono::seconds(0), kLongestRetryAfter);
}

std::optional<ContentRange> ParseContentRange(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  const size_t dash = value.find('-');
  const size_t slash = value.find('/');
  if (!value.starts_with(kUnit) || dash == std::string_view::npos || slash == std::string_view::npos || slash < dash)
    return std::nullopt;
  const auto first = ParseDecimal<uint64_t>(value.substr(kUnit.size(), dash - kUnit.size()));
  const auto last = ParseDecimal<uint64_t>(value.substr(dash + 1, slash - dash - 1));
  const std::string_view size_text = value.substr(slash + 1);
  const auto size = ParseDecimal<uint64_t>(size_text);
  if (!first || !last || *last < *first || (!size && size_text != "*") || (size && *size <= *last))
    return std::nullopt;
  return ContentRange{.first = *first, .last = *last, .size = size};
}

}  // namespace gantry::image
