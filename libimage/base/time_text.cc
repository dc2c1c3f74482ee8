#include "libimage/base/time_text.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry {
namespace {

// The years 0 to 9999.
constexpr int64_t kFirst = -62167219200;
constexpr int64_t kLast = 253402300799;

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

// Not by strftime(3), which reads the zone of the host, and be it for UTC.
std::string TimeText(int64_t time) {
  if (time < kFirst || time > kLast)
    return std::to_string(time);
  const std::chrono::sys_seconds all{std::chrono::seconds(time)};
  const auto day = std::chrono::floor<std::chrono::days>(all);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(all - day);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

std::string Rfc3339(int64_t time) {
  if (time > kLast)
    throw Error(ErrorKind::kUsage, "the time " + std::to_string(time) + " is beyond the year 9999");
  return TimeText(time);
}

std::string NowText() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::string out = TimeText(now.tv_sec);
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%09ldZ", now.tv_nsec);
  out.replace(out.size() - 1, 1, fraction.data());
  return out;
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
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok())
    return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const int64_t time = ((days * 24 + *hour) * 60 + *minute) * 60 + std::min(*second, 59);
  return time - *offset;
}

}  // namespace gantry
