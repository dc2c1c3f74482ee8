// Standard base64 (RFC 4648, section 4), strictly: padded, no white space.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gantry {

std::string EncodeBase64(std::string_view bytes);

// nullopt when `text` is anything else, bits beyond the last byte among it.
std::optional<std::string> DecodeBase64(std::string_view text);

// The same in either alphabet, standard or URL-safe (section 5), padded or not, as readers of Protocol Buffers' JSON
// must take it.
std::optional<std::string> DecodeEitherBase64(std::string text);

}  // namespace gantry
