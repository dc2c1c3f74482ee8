#include "libimage/base/time_text.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry {
namespace {

// Reads `digits` digits and the separator behind them; leaves `text` behind both.
std::optional<int> Number(std::string_view& text, size_t digits, char separator) {
  const auto number = ParseDecimal<int>(text.substr(0, digits));
  const size_t all = digits + (separator == '\0' ? 0 : 1);
  if (!number || text.size() < all || (separator != '\0' && text[digits] != separator)) {
    return std::nullopt;
  }
  text.remove_prefix(all);
  return number;
}

// "Z", "+02:00": seconds to take away.
std::optional<int64_t> Offset(std::string_view text) {
  if (text == "Z" || text == "z") {
    return 0;
  }
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-')) {
    return std::nullopt;
  }
  const int sign = text[0] == '-' ? -1 : 1;
  text.remove_prefix(1);
  const auto hours = Number(text, 2, ':');
  const auto minutes = hours ? Number(text, 2, '\0') : std::nullopt;
  if (!minutes || *hours > 23 || *minutes > 59) {
    return std::nullopt;
  }
  return sign * (int64_t{*hours} * 3600 + int64_t{*minutes} * 60);
}

bool SkipFraction(std::string_view& text) {
  if (!text.starts_with('.')) {
    return true;
  }
  const size_t end = std::min(text.find_first_not_of("0123456789", 1), text.size());
  text.remove_prefix(end);
  return end > 1;
}

}  // namespace

std::string TimeText(int64_t time) {
  const std::time_t seconds = time;
  std::tm parts{};
  std::array<char, 64> text{};
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
    return std::to_string(time);
  }
  return text.data();
}

std::string Rfc3339(int64_t time) {
  constexpr int64_t kYear10000 = 253'402'300'800;
  if (time >= kYear10000)
    throw Error(ErrorKind::kUsage, "the time " + std::to_string(time) + " is beyond the year 9999");
  return TimeText(time);
}

std::optional<int64_t> ParseRfc3339(std::string_view text) {
  const auto year = Number(text, 4, '-');
  const auto month = year ? Number(text, 2, '-') : std::nullopt;
  const auto day = month ? Number(text, 2, '\0') : std::nullopt;
  if (!day || text.empty() || (text[0] != 'T' && text[0] != 't')) {
    return std::nullopt;
  }
  text.remove_prefix(1);
  const auto hour = Number(text, 2, ':');
  const auto minute = hour ? Number(text, 2, ':') : std::nullopt;
  const auto second = minute ? Number(text, 2, '\0') : std::nullopt;
  const auto offset = second && SkipFraction(text) ? Offset(text) : std::nullopt;
  if (!offset || *hour > 23 || *minute > 59 || *second > 60) {
    return std::nullopt;
  }
  std::tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = std::min(*second, 59);
  const std::tm asked = parts;
  const int64_t time = timegm(&parts);
  if (parts.tm_mon != asked.tm_mon || parts.tm_mday != asked.tm_mday) {
    return std::nullopt;  // no such day
  }
  return time - *offset;
}

}  // namespace gantry
