#include "libimage/build/lines.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"

namespace gantry::image {
namespace {

constexpr std::string_view kSpaces = " \t\r";

// The next line of `text` from `begin` on, which moves behind it.
std::string_view TakeLine(std::string_view text, size_t& begin, size_t& number) {
  const size_t end = std::min(text.find('\n', begin), text.size());
  const std::string_view line = text.substr(begin, end - begin);
  begin = end + 1;
  ++number;
  return line;
}

void TakeDocument(std::string_view text, size_t& begin, size_t& number, HereDocument& into) {
  while (begin < text.size()) {
    std::string_view line = TakeLine(text, begin, number);
    if (into.strips_tabs)
      line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
    if (line == into.delimiter || (line.ends_with('\r') && line.substr(0, line.size() - 1) == into.delimiter))
      return;
    into.content.append(line).push_back('\n');
  }
  throw Error(ErrorKind::kCorrupt, "the here-document " + Quoted(into.delimiter) + " has no end",
              "it ends with a line that is " + Quoted(into.delimiter) + " and nothing else");
}

}  // namespace

std::vector<LogicalLine> JoinLines(std::string_view text, char escape, size_t max_bytes, const DocumentsOf& documents) {
  if (text.size() > max_bytes)
    throw Error(ErrorKind::kCorrupt, "longer than " + std::to_string(max_bytes) + " bytes");
  if (text.find('\0') != std::string_view::npos)
    throw Error(ErrorKind::kCorrupt, "a NUL byte, where text is expected");
  std::vector<LogicalLine> lines;
  std::optional<LogicalLine> open;
  size_t number = 0, begin = 0;
  const auto close = [&] {
    LogicalLine& made = lines.emplace_back(*std::exchange(open, std::nullopt));
    if (!documents)
      return;
    try {
      made.documents = documents(made.text);
      for (HereDocument& document : made.documents) TakeDocument(text, begin, number, document);
    } catch (const Error& error) {
      throw error.WithContext("line " + std::to_string(made.number));
    }
  };
  while (begin < text.size()) {
    const std::string_view line = TakeLine(text, begin, number);
    const std::string_view trimmed = Trimmed(line);
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
      close();
  }
  if (open) {
    open->text.resize(open->text.find_last_not_of(kSpaces) + 1);  // as at the end of any line
    close();
  }
  return lines;
}

}  // namespace gantry::image
