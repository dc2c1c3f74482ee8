#include "libimage/base/error.h"

#include <array>
#include <cstring>
#include <utility>

#include "libimage/base/shown_text.h"

namespace gantry {
namespace {

constexpr size_t kMaxQuotedBytes = 200;

void AppendHex(std::string& out, unsigned char byte) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\x";
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

ErrorKind KindOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return ErrorKind::kNotFound;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorKind::kUnsupported;
    default:
      return ErrorKind::kFailed;
  }
}

std::string HintOf(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free some space, or choose another place";
    case EACCES:
    case EPERM:
      return "check the owner and mode of the path, or run as a user who may do this";
    case EROFS:
      return "choose a place that can be written to";
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case EAGAIN:
      return "a limit is reached: of processes (ulimit -u, the pids control group) or of memory";
    default:
      return {};
  }
}

}  // namespace

Error::Error(ErrorKind kind, std::string message, std::string hint)
    : kind_(kind), message_(std::move(message)), hint_(std::move(hint)) {}

Error Error::WithContext(std::string_view where) const {
  return Error(kind_, std::string(where) + ": " + message_, hint_);
}

void ThrowErrno(std::string_view what, int error) {
  std::array<char, 128> buffer{};
  const char* text = strerror_r(error, buffer.data(), buffer.size());
  throw Error(KindOf(error), std::string(what) + ": " + text, HintOf(error));
}

std::string Quoted(std::string_view text) {
  std::string out = "'";
  size_t at = 0;
  while (at < text.size() && at < kMaxQuotedBytes) {
    const size_t length = ShownLength(text, at);
    if (length == 0)
      AppendHex(out, static_cast<unsigned char>(text[at++]));
    out += text.substr(at, length);
    at += length;
  }
  if (at < text.size())
    out += "...";
  return out + "'";
}

}  // namespace gantry
