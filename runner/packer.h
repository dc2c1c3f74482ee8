// Puts parts behind a head, aligned, for a reader in another process: a plain structure with offsets to them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace gantry::runner {

class Packer {
 public:
  explicit Packer(size_t head_bytes) : bytes_(head_bytes, '\0') {}

  // Each returns the offset of what it added.
  uint64_t Add(const void* data, size_t size) {
    bytes_.resize((bytes_.size() + 7) / 8 * 8, '\0');
    const uint64_t offset = bytes_.size();
    bytes_.append(static_cast<const char*>(data), size);
    return offset;
  }
  // Texts, each with a NUL at its end, one after the other.
  uint64_t Add(const std::vector<std::string>& texts) {
    std::string joined;
    for (const std::string& text : texts) joined.append(text).push_back('\0');
    return Add(joined.data(), joined.size());
  }

  template <typename Head>
  std::string Finish(const Head& head) {
    std::memcpy(bytes_.data(), &head, sizeof head);
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

}  // namespace gantry::runner
