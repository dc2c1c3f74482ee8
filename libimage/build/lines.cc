#include "libimage/build/lines.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::image {
namespace {

constexpr std::string_view kSpaces = " \t\r";

}  // namespace

std::vector<LogicalLine> JoinLines(std::string_view text, char escape, size_t max_bytes) {
  if (text.size() > max_bytes)
    throw Error(ErrorKind::kCorrupt, "longer than " + std::to_string(max_bytes) + " bytes");
  if (text.find('\0') != std::string_view::npos)
    throw Error(ErrorKind::kCorrupt, "a NUL byte, where text is expected");
  std::vector<LogicalLine> lines;
  std::optional<LogicalLine> open;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    const std::string_view trimmed = Trimmed(line);
    begin = end + 1;
    ++number;
    if (trimmed.empty() || trimmed.front() == '#')
      continue;
    const bool continued = trimmed.back() == escape;
    if (!open)
      open = LogicalLine{number, ""};
    // The spaces before a continued part are its own.
    std::string_view part = open->text.empty() ? trimmed : line.substr(0, line.find_last_not_of(kSpaces) + 1);
    if (continued)
      part.remove_suffix(1);
    open->text += part;
    if (!continued)
      lines.push_back(*std::exchange(open, std::nullopt));
  }
  if (open)
    lines.push_back(*std::move(open));
  return lines;
}

}  // namespace gantry::image
