// Tar archives made by hand, byte by byte, so that a test can write what no honest tool would.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gantry::testing {

class TarBuilder {
 public:
  // One ustar header; `size` is what the header claims.
  struct Header {
    std::string name;
    char type = '0';
    uint32_t mode = 0644;
    uint32_t uid = 0, gid = 0;
    uint64_t size = 0;
    int64_t mtime = 1'000'000'000;
    std::string link;
    uint32_t major = 0, minor = 0;
  };

  TarBuilder& File(std::string_view name, std::string_view content, uint32_t mode = 0644, uint32_t uid = 0,
                   uint32_t gid = 0);
  TarBuilder& Dir(std::string_view name, uint32_t mode = 0755);
  TarBuilder& Symlink(std::string_view name, std::string_view target);
  TarBuilder& HardLink(std::string_view name, std::string_view target);
  TarBuilder& CharDevice(std::string_view name, uint32_t major, uint32_t minor);
  TarBuilder& Fifo(std::string_view name);
  TarBuilder& Whiteout(std::string_view dir, std::string_view name);  // an empty file dir/.wh.name
  TarBuilder& Opaque(std::string_view dir);                           // an empty file dir/.wh..wh..opq

  // A pax header for the next entry; records are written as given.
  TarBuilder& Pax(const std::vector<std::pair<std::string, std::string>>& records, char type = 'x');

  // A header and its data, padded; the two need not agree.
  TarBuilder& Entry(const Header& header, std::string_view data = {});
  TarBuilder& Bytes(std::string_view raw);

  // The archive, with and without the end marker of two zero blocks.
  std::string Build() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace gantry::testing
