#include "libimage/base/shown_text.h"

namespace gantry {
namespace {

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

}  // namespace

size_t ShownLength(std::string_view text, size_t at) {
  const size_t length = Utf8Length(text, at);
  return IsControl(text.substr(at, length)) ? 0 : length;
}

bool IsShown(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = ShownLength(text, at);
    if (length == 0)
      return false;
    at += length;
  }
  return true;
}

}  // namespace gantry
