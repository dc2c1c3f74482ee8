// A small deflate stream in memory, all of it or nothing: for formats that embed one and say nothing of its length.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace gantry::image {

enum class DeflateWrapping { kRaw, kZlib };  // RFC 1951, RFC 1950

// What `bytes` hold when they are exactly one stream that ends where they end, of at most `max_bytes`; else nullopt.
std::optional<std::string> InflateWhole(std::string_view bytes, DeflateWrapping wrapping, size_t max_bytes);

}  // namespace gantry::image
