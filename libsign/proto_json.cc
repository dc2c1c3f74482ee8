#include "libsign/proto_json.h"

#include <algorithm>
#include <limits>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libsign/time_text.h"

namespace gantry::sign {

std::optional<std::string> DecodeBase64Url(std::string_view text) {
  return text.find_first_of("+/=") == std::string_view::npos ? DecodeEitherBase64(std::string(text)) : std::nullopt;
}

std::string EncodeBase64Url(std::string_view bytes) {
  std::string text = EncodeBase64(bytes);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  std::erase(text, '=');
  return text;
}

std::string ProtoBytes(const json::Cursor& from, size_t max_bytes) {
  const auto bytes = DecodeEitherBase64(from.String());
  if (!bytes) {
    from.Fail("expected base64");
  }
  if (bytes->size() > max_bytes) {
    from.Fail("more than " + std::to_string(max_bytes) + " bytes");
  }
  return *bytes;
}

uint64_t ProtoUnsigned(const json::Cursor& from) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (from.value().string() == nullptr) {
    return from.Unsigned(kMax);
  }
  const auto number = ParseDecimal<uint64_t>(from.String(32));
  if (!number || *number > kMax) {
    from.Fail("expected a number from 0 to 2^63 - 1");
  }
  return *number;
}

int64_t ProtoTime(const json::Cursor& from) {
  const auto time = ParseRfc3339(from.String(64));
  if (!time) {
    from.Fail("expected a time as in RFC 3339");
  }
  return *time;
}

}  // namespace gantry::sign
