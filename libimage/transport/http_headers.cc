// What the headers of responses say.
#include <curl/curl.h>

#include <algorithm>
#include <charconv>

#include "libimage/base/ascii.h"
#include "libimage/transport/http.h"

namespace gantry::image {
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
  const auto wait = std::chrono::ceil<std::chrono::seconds>(std::chrono::system_clock::from_time_t(date) - now);
  return std::max(wait, std::chrono::seconds(0));
}

std::optional<uint64_t> ParseContentRangeStart(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  if (!value.starts_with(kUnit))
    return std::nullopt;
  value.remove_prefix(kUnit.size());
  uint64_t start = 0;
  uint64_t last = 0;
  const char* end = value.data() + value.size();
  const auto first = std::from_chars(value.data(), end, start);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-')
    return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, last);
  if (second.ec != std::errc() || second.ptr == end || *second.ptr != '/' || last < start)
    return std::nullopt;
  return start;
}

}  // namespace gantry::image
