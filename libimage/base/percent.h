// Percent-encoding (RFC 3986, 2.1).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gantry {

// `text` with everything but unreserved characters as %XX, for a query value or a name of a file.
std::string PercentEncoded(std::string_view text);

// The other way; nullopt for a '%' without two hexadecimal digits behind it.
std::optional<std::string> PercentDecoded(std::string_view text);

}  // namespace gantry
