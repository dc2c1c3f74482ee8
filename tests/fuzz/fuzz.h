// What the fuzz targets share. A target parses its input, and, where that succeeds, prints and parses again: a
// difference traps, and so does every exception that is no gantry::Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "libimage/base/error.h"

namespace gantry::fuzz {

inline std::string_view Text(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

inline void Require(bool condition) {
  if (!condition)
    std::abort();
}

// Calls `parse`, which may refuse its input; whether it did not.
template <typename Parse>
bool Accepts(Parse parse) {
  try {
    parse();
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace gantry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
