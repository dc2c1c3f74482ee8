#include "serve/request_head.h"

#include <algorithm>
#include <utility>

#include "libimage/base/ascii.h"

namespace gantry::serve {
namespace {

bool IsTokenByte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

bool IsControl(char c) { return (c >= '\0' && c < ' ' && c != '\t') || c == '\x7f'; }

}  // namespace

bool RequestHead::Take(char byte) {
  line_ += byte;
  if (byte != '\n')
    return true;
  const std::string line = std::exchange(line_, {});
  if (!std::exchange(in_headers_, true) || line == "\r\n")
    return true;
  return line.ends_with("\r\n") && TakeHeader(std::string_view(line).substr(0, line.size() - 2));
}

bool RequestHead::TakeHeader(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos || !std::all_of(line.begin(), line.begin() + colon, IsTokenByte) ||
      std::any_of(line.begin() + colon, line.end(), IsControl))
    return false;
  const std::string name = LowerAscii(line.substr(0, colon));
  const std::string_view value = Trimmed(line.substr(colon + 1));
  // Twice the same length is one more than a client needs.
  if (name == "content-length" && (value != "0" || std::exchange(has_length_, true)))
    has_body_ = true;
  if (name == "transfer-encoding")
    has_body_ = true;
  return name != "range" || value.size() <= kMaxRangeBytes;
}

}  // namespace gantry::serve
