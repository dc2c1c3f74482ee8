// Has the disk begin with a file while more of it comes, so that the fsync at its end has little to wait for.
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "libimage/base/stream.h"

namespace gantry {

class WriteBack {
 public:
  // The file has its bytes up to `end` by now.
  void Advance(int fd, uint64_t end) {
    if (end < started_ + kBytes)
      return;
    // A hint: where it is not supported, fsync does all of the work.
    sync_file_range(fd, static_cast<off64_t>(started_), static_cast<off64_t>(end - started_), SYNC_FILE_RANGE_WRITE);
    started_ = end;
  }

 private:
  static constexpr uint64_t kBytes = uint64_t{8} << 20;
  uint64_t started_ = 0;  // up to here the disk was asked to write
};

// FdSink (stream.h) for an empty file that is to be synced.
std::unique_ptr<Sink> FileSink(int fd, std::string what);

}  // namespace gantry
