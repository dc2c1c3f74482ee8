#include "libimage/base/error.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace gantry {
namespace {

constexpr size_t kMaxQuotedBytes = 200;

// Length of the UTF-8 sequence that starts at `text[at]`, or 0 if none does.
size_t Utf8Length(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  size_t length = 0;
  if (lead < 0x80) {
    length = 1;
  } else if (lead >= 0xC2 && lead < 0xE0) {
    length = 2;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    length = 3;
  } else if (lead >= 0xF0 && lead < 0xF5) {
    length = 4;
  }
  if (length > text.size() - at)
    return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80)
      return 0;
  }
  return length;
}

// Whether the UTF-8 sequence changes what a terminal shows of others: controls (C1, U+0080..U+009F, are as harmful as
// C0), marks and overrides of the writing direction (U+200E, U+200F, U+202A..U+202E, U+2066..U+2069), line separators.
bool IsControl(std::string_view sequence) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(sequence[i]); };
  if (sequence.size() == 1)
    return byte(0) < 0x20 || byte(0) == 0x7F;
  if (sequence.size() == 2)
    return byte(0) == 0xC2 && byte(1) < 0xA0;
  if (sequence.size() != 3 || byte(0) != 0xE2)
    return false;
  const unsigned last = byte(2);
  return (byte(1) == 0x80 && (last == 0x8E || last == 0x8F || (last >= 0xA8 && last <= 0xAE))) ||
         (byte(1) == 0x81 && last >= 0xA6 && last <= 0xA9);
}

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
    const size_t length = Utf8Length(text, at);
    const std::string_view sequence = text.substr(at, std::max<size_t>(length, 1));
    if (length == 0 || IsControl(sequence)) {
      for (const char byte : sequence) AppendHex(out, static_cast<unsigned char>(byte));
    } else {
      out += sequence;
    }
    at += sequence.size();
  }
  if (at < text.size())
    out += "...";
  return out + "'";
}

}  // namespace gantry
