#include "tools/table.h"

#include <algorithm>

#include "libimage/base/error.h"

namespace gantry::tools {
namespace {

// Columns on the terminal, for text of one column a character.
size_t Width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string Printable(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    // C1 controls (U+0080 to U+009F) are as harmful to a terminal as C0.
    const bool c1 = byte == 0xC2 && next >= 0x80 && next < 0xA0;
    if (byte >= 0x20 && byte != 0x7F && !c1) {
      out += text[i];
      continue;
    }
    const unsigned char shown = c1 ? next : byte;
    out += "\\x";
    out += kHex[shown >> 4];
    out += kHex[shown & 15];
    i += c1 ? 1 : 0;
  }
  return out;
}

Table::Table(std::vector<std::string> header) { Add(std::move(header)); }

void Table::Add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = Printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::ToString() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths.at(i) = std::max(widths.at(i), Width(row[i]));
  }
  std::string out;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size())
        out.append(widths[i] - Width(row[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

uint64_t ParseSeconds(std::string_view text) {
  constexpr size_t kMaxDigits = 9;
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string_view unit = text.substr(digits);
  const uint64_t factor = unit.empty() || unit == "s" ? 1
                          : unit == "m"               ? 60
                          : unit == "h"               ? 3600
                          : unit == "d"               ? 86400
                                                      : 0;
  if (digits == 0 || digits > kMaxDigits || factor == 0)
    throw Error(ErrorKind::kUsage, "bad time " + Quoted(text), "write a number and one of s, m, h and d: 12h");
  return std::stoull(std::string(text.substr(0, digits))) * factor;
}

}  // namespace gantry::tools
