// Has the disk begin with a file while more of it comes, so that the fsync at its end has little to wait for.
#pragma once

#include <fcntl.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "libimage/base/stream.h"

namespace gantry {

class WriteBack {
 public:
  // kSparing: not while bytes come so fast that processors are what there is too little of, for somebody makes
  // something of them meanwhile, who can go on without the disk.
  enum class Pace { kSteady, kSparing };

  explicit WriteBack(Pace pace = Pace::kSteady) : pace_(pace) {}

  // The file has its bytes up to `end` by now.
  void Advance(int fd, uint64_t end) {
    if (end < seen_ + kBytes)
      return;
    seen_ = end;
    const Clock::time_point before = std::exchange(seen_at_, Clock::now());
    if (pace_ == Pace::kSparing && seen_at_ - before < kFast)
      return;
    // A hint: where it is not supported, fsync does all of the work.
    sync_file_range(fd, static_cast<off64_t>(started_), static_cast<off64_t>(end - started_), SYNC_FILE_RANGE_WRITE);
    started_ = end;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr uint64_t kBytes = uint64_t{8} << 20;
  static constexpr std::chrono::milliseconds kFast{150};  // for kBytes

  Pace pace_;
  uint64_t started_ = 0;  // up to here the disk was asked to write
  uint64_t seen_ = 0;
  Clock::time_point seen_at_ = Clock::now();
};

// FdSink (stream.h) for an empty file that is to be synced.
std::unique_ptr<Sink> FileSink(int fd, std::string what);

}  // namespace gantry
