// Numbers as signed structures have them: the highest byte first (RFC 4880, 3.1; RFC 5246, 4.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gantry::sign {

// The lowest `size` bytes of `number`.
inline std::string BigEndian(uint64_t number, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = size; i-- > 0; number >>= 8) bytes[i] = static_cast<char>(number & 0xff);
  return bytes;
}

}  // namespace gantry::sign
