// Members of documents that were written from protocol buffers: sigstore's bundles and trusted roots. 64-bit numbers
// are strings, bytes are base64 in either alphabet, zero and empty are the same as absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/json.h"

namespace gantry::sign {

// All throw kCorrupt, naming the place, for what is not of the type.
std::string ProtoBytes(const json::Cursor& from, size_t max_bytes);
uint64_t ProtoUnsigned(const json::Cursor& from);  // at most 2^63 - 1
int64_t ProtoTime(const json::Cursor& from);

// Base64url without padding (RFC 7515).
std::optional<std::string> DecodeBase64Url(std::string_view text);
std::string EncodeBase64Url(std::string_view bytes);

}  // namespace gantry::sign
