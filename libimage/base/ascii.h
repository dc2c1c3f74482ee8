// ASCII text of protocols and file formats, the same in every locale.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace gantry {

// With A to Z in lower case; other bytes stay.
std::string LowerAscii(std::string_view text);

// Two lower-case hexadecimal digits for each byte.
std::string HexOf(std::string_view bytes);

// Without the blanks, tabs and ends of lines around it. Borrows from `text`.
std::string_view Trimmed(std::string_view text);

// The number that the whole of `text` writes in decimal digits; nullopt when it is empty, has a sign or anything else,
// or is more than a Number holds.
template <typename Number>
std::optional<Number> ParseDecimal(std::string_view text) {
  Number value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, problem] = std::from_chars(text.data(), end, value);
  if (text.starts_with('-') || problem != std::errc() || at != end)
    return std::nullopt;
  return value;
}

}  // namespace gantry
