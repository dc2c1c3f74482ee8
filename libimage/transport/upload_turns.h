// Whose turn it is among blobs that are ready to be uploaded: the largest first, so that none is left alone at the end.
//
// Where a few connections are fast, a processor or the wire has no room for more, which would only take from the
// largest; where they are slow, all go at once.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <utility>

namespace gantry::image {

class UploadTurns {
 public:
  static constexpr std::chrono::milliseconds kPatience{100};
  static constexpr double kFastBytesPerSecond = 100e6;  // of all together

  // So many go at a time until they turn out to be slow.
  explicit UploadTurns(size_t at_first) : at_first_(at_first) {}

  // A blob's place in the queue, from when it is known to whether it is needed and sent. Thread-safe.
  class Turn {
   public:
    Turn(Turn&& other) noexcept : turns_(std::exchange(other.turns_, nullptr)), place_(std::move(other.place_)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn();

    // Until all that are larger have begun, or gone, and there is room.
    void Await();
    void Sent(uint64_t bytes);

   private:
    friend class UploadTurns;
    Turn(UploadTurns& turns, std::pair<uint64_t, size_t> place) : turns_(&turns), place_(place) {}

    UploadTurns* turns_;
    std::pair<uint64_t, size_t> place_;  // size and number
  };
  Turn Announce(uint64_t size);

 private:
  using Clock = std::chrono::steady_clock;
  bool MayBegin(const Turn& turn) const;
  void JudgeSpeed();

  const size_t at_first_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::pair<uint64_t, size_t>> waiting_;
  size_t running_ = 0;
  size_t last_number_ = 0;
  bool slow_ = false;
  uint64_t sent_ = 0;  // since
  Clock::time_point since_ = Clock::now();
};

}  // namespace gantry::image
