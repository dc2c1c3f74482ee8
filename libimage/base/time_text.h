// Points in time as text (RFC 3339), and back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gantry {

// "2026-11-24T12:00:00Z".
std::string TimeText(int64_t time);
// The same for a document that others read: kUsage for a time beyond the year 9999, which RFC 3339 cannot write.
std::string Rfc3339(int64_t time);

// Of this moment, with nanoseconds.
std::string NowText();

// Seconds since 1970, fractions cut off; nullopt for what is no such time. A leap second counts as the second before.
std::optional<int64_t> ParseRfc3339(std::string_view text);

}  // namespace gantry
