// Has the disk begin with a file while more of it comes, so that the fsync at its end has little to wait for.
#pragma once

#include <fcntl.h>

#include <cstdint>

namespace gantry::image {

class WriteBack {
 public:
  // `written` bytes of the file are there by now, in all.
  void Advance(int fd, uint64_t written) {
    if (written - started_ < kBytes)
      return;
    // A hint: where it is not supported, fsync does all of the work.
    sync_file_range(fd, static_cast<off64_t>(started_), static_cast<off64_t>(written - started_),
                    SYNC_FILE_RANGE_WRITE);
    started_ = written;
  }

 private:
  static constexpr uint64_t kBytes = uint64_t{8} << 20;
  uint64_t started_ = 0;  // up to here the disk was asked to write
};

}  // namespace gantry::image
