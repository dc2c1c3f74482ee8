#include "libimage/transport/upload_turns.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gantry::image {
namespace {

// A thread that waits for its turn, notes its letter, and keeps the turn until it is told.
class Upload {
 public:
  Upload(UploadTurns& turns, uint64_t size, char letter, std::string& order, std::mutex& mutex)
      : turn_(turns.Announce(size)), thread_([this, letter, &order, &mutex] {
          turn_->Await();
          const std::lock_guard lock(mutex);
          order += letter;
        }) {}
  void End() {
    thread_.join();
    turn_.reset();
  }
  UploadTurns::Turn& turn() { return *turn_; }

 private:
  std::optional<UploadTurns::Turn> turn_;
  std::jthread thread_;
};

class UploadTurnsTest : public ::testing::Test {
 protected:
  std::string Order() {
    const std::lock_guard lock(mutex_);
    return order_;
  }
  // The clock is a true one: what is to come has time, what is not to come gets three times their patience.
  void ExpectOrder(const std::string& order) {
    for (int i = 0; i < 500 && Order() != order; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(Order(), order);
  }

  std::mutex mutex_;
  std::string order_;
};

TEST_F(UploadTurnsTest, TheLargestGoFirst) {
  UploadTurns turns(1);
  std::optional<UploadTurns::Turn> largest = turns.Announce(100);
  Upload small(turns, 1, 's', order_, mutex_);
  Upload middle(turns, 10, 'm', order_, mutex_);
  std::this_thread::sleep_for(3 * UploadTurns::kPatience);
  EXPECT_EQ(Order(), "");  // the largest may yet come
  largest.reset();         // it was not needed
  ExpectOrder("m");
  middle.End();
  ExpectOrder("ms");
  small.End();
}

TEST_F(UploadTurnsTest, FastOnesAreLeftAloneAndSlowOnesAreJoined) {
  UploadTurns turns(1);
  Upload first(turns, 100, '1', order_, mutex_);
  ExpectOrder("1");
  {
    std::atomic<bool> ended = false;
    const std::jthread fast([&] {
      while (!ended) {
        first.turn().Sent(20'000'000);
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    });
    Upload second(turns, 10, '2', order_, mutex_);
    std::this_thread::sleep_for(4 * UploadTurns::kPatience);
    EXPECT_EQ(Order(), "1");
    ended = true;
    ExpectOrder("12");  // for nothing comes any more
    second.End();
  }
  Upload third(turns, 1, '3', order_, mutex_);
  ExpectOrder("123");
  third.End();
  first.End();
}

}  // namespace
}  // namespace gantry::image
