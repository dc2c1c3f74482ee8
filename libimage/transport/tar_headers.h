// The headers of a tar file, one after the other, without its data: for archives of files (an image layout, what docker
// save writes). Layers are read by layer/archive.h, which knows all that a file system can hold; this reader knows
// little and refuses the rest, so that no two readers can see different members.
//
// Understood are v7, ustar and GNU headers with long names and binary sizes, and pax headers with path, linkpath and
// size; other pax records say nothing about where a member lies and are passed over. Refused (kCorrupt, with member,
// name and offset): wrong checksums, fields that are not numbers, members beyond the end of the file, a value given
// twice by extended headers, special files, links and directories with data, a missing end marker (two blocks of
// zeros). Sparse members are kUnsupported. What follows the end marker is ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libimage/layer/archive.h"

namespace gantry::image {

constexpr size_t kMaxExtendedHeaderBytes = 1024 * 1024;  // of one pax or long-name header

struct TarMember {
  std::string name;                   // raw; at most kMaxEntryNameBytes, as the link
  EntryType type = EntryType::kFile;  // kFile, kHardLink, kSymlink or kDirectory
  std::string link;
  uint64_t offset = 0, size = 0;  // where the data of a file lies
};

class TarHeaders {
 public:
  // Borrows `fd`, a file of `size` bytes. `what` names it in errors.
  TarHeaders(int fd, uint64_t size, std::string what) : fd_(fd), size_(size), what_(std::move(what)) {}

  // The next member; nullopt at the end.
  std::optional<TarMember> Next();

  // kCorrupt about the member that Next returned last.
  [[noreturn]] void Corrupt(std::string_view why) const;

 private:
  struct Header;
  struct Extended;
  Header ReadHeader();
  void RequireEndMarker();
  std::string ReadExtended(const Header& header);
  void ParsePax(std::string_view records, bool global, Extended& into) const;
  EntryType TypeOf(const Header& header) const;
  [[noreturn]] void Sparse() const;
  TarMember MemberOf(const Header& header, Extended&& extended);
  void SkipData(uint64_t size);
  uint64_t Number(std::string_view field, std::string_view what) const;

  int fd_;
  uint64_t size_;
  std::string what_;
  uint64_t at_ = 0;  // of the next block
  uint64_t header_at_ = 0;
  uint64_t number_ = 0;  // of the member, from 1
  std::string name_;     // of the member, for errors
};

}  // namespace gantry::image
