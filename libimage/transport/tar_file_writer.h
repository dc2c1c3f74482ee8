// A tar file of files, as tar_file.h reads them, being written: image layouts and what docker load takes. Layers are
// made by layer/archive.h.
//
// A member may tell its size and name at its end. Its header is then written in place, so that nothing is spooled; the
// file must be one that can be written anywhere. The same members make the same bytes: mode 0644, owner 0:0, time 0.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "libimage/base/stream.h"
#include "libimage/base/write_back.h"
#include "libimage/layer/archive.h"

namespace gantry::image {

// The header of a file in one block, whatever its size; `name` has at most 100 bytes.
std::string TarFileHeader(const std::string& name, uint64_t size);

class TarFileWriter {
 public:
  // Borrows `fd`, an empty file. `what` names it in errors.
  TarFileWriter(int fd, std::string what) : fd_(fd), what_(std::move(what)) {}
  TarFileWriter(const TarFileWriter&) = delete;
  TarFileWriter& operator=(const TarFileWriter&) = delete;

  void AddDirectory(const std::string& name);
  void AddSymlink(const std::string& name, const std::string& target);
  void AddFile(const std::string& name, std::string_view bytes);
  // All of the source, which must have `size` bytes.
  void AddFile(const std::string& name, uint64_t size, Source& from);

  // A member whose data comes first. One at a time, and nothing else is added meanwhile. Destroyed without Finish it is
  // not in the archive.
  class Unnamed {
   public:
    explicit Unnamed(TarFileWriter& tar);
    void Write(std::span<const std::byte> bytes);
    // `name` has at most 100 bytes.
    void Finish(const std::string& name);

   private:
    TarFileWriter& tar_;
    uint64_t size_ = 0;
  };

  // The end marker. Does not sync.
  void Finish();

 private:
  void Put(const Entry& entry);
  void Append(std::span<const std::byte> bytes);
  void EndMember(uint64_t size);
  void Seek(uint64_t offset) const;

  int fd_;
  std::string what_;
  uint64_t end_ = 0;  // of the members that are whole
  WriteBack write_back_;
};

}  // namespace gantry::image
