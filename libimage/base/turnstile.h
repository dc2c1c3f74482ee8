// Jobs that run beside each other and yet go one by one, in their order, through what takes memory or can hold one.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <set>

namespace gantry {

class Turnstile {
 public:
  // Lets `at_once` in at a time.
  explicit Turnstile(size_t at_once) : at_once_(at_once) {}

  // The turn of job `number`. Every number from 0 on needs one that comes to its end, whether it waited or not, and may
  // not be made later than those of the jobs after it: those wait for it.
  class Turn {
   public:
    Turn(Turnstile& stile, size_t number) : stile_(stile), number_(number) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { End(); }

    // Until all jobs but the `at_once` - 1 right before this one have ended theirs.
    void Wait() {
      std::unique_lock lock(stile_.mutex_);
      stile_.ended_one_.wait(lock, [this] { return number_ < stile_.all_before_ + stile_.at_once_; });
    }
    // The first call counts.
    void End() {
      if (ended_)
        return;
      ended_ = true;
      const std::lock_guard lock(stile_.mutex_);
      stile_.ended_.insert(number_);
      while (stile_.ended_.erase(stile_.all_before_) != 0) ++stile_.all_before_;
      stile_.ended_one_.notify_all();
    }

   private:
    Turnstile& stile_;
    const size_t number_;
    bool ended_ = false;
  };

 private:
  const size_t at_once_;
  std::mutex mutex_;
  std::condition_variable ended_one_;
  size_t all_before_ = 0;   // have ended
  std::set<size_t> ended_;  // beyond them: one that is skipped may end before those that are in
};

}  // namespace gantry
