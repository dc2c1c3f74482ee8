#include "libimage/layer/decompress_whole.h"

#include <isa-l/igzip_lib.h>

#include <limits>
#include <memory>

namespace gantry::image {

std::optional<std::string> InflateWhole(std::string_view bytes, DeflateWrapping wrapping, size_t max_bytes) {
  if (bytes.size() > std::numeric_limits<uint32_t>::max() || max_bytes >= std::numeric_limits<uint32_t>::max()) {
    return std::nullopt;
  }
  const auto state = std::make_unique<inflate_state>();
  isal_inflate_init(state.get());
  state->crc_flag = wrapping == DeflateWrapping::kZlib ? ISAL_ZLIB : ISAL_DEFLATE;
  std::string input(bytes);  // ISA-L takes a pointer to bytes that are not const
  std::string output(max_bytes, '\0');
  state->next_in = reinterpret_cast<uint8_t*>(input.data());
  state->avail_in = static_cast<uint32_t>(input.size());
  state->next_out = reinterpret_cast<uint8_t*>(output.data());
  state->avail_out = static_cast<uint32_t>(output.size());
  if (isal_inflate(state.get()) != ISAL_DECOMP_OK || state->block_state != ISAL_BLOCK_FINISH) {
    return std::nullopt;
  }
  // Bytes that were read ahead and not used count as behind the end; up to seven bits of the last byte do not.
  if (state->avail_in != 0 || state->read_in_length >= 8) {
    return std::nullopt;
  }
  output.resize(output.size() - state->avail_out);
  return output;
}

}  // namespace gantry::image
