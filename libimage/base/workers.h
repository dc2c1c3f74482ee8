// Independent jobs over a few threads.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gantry {

// The number of processors this process may use (its affinity mask), at least 1.
size_t ProcessorCount();

// Runs job(0) .. job(count - 1) on up to `threads` threads, the caller's being one, starting them in that order.
// After the first exception no further job starts; it is rethrown once all running ones have ended.
void RunParallel(size_t count, size_t threads, const std::function<void(size_t)>& job);

// The same for jobs that are found while earlier ones run already. Destroyed without Finish, it drops those that wait.
class JobQueue {
 public:
  // Up to `threads` threads, the one that calls Finish being one.
  explicit JobQueue(size_t threads);
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;
  ~JobQueue();

  void Add(std::function<void()> job);
  // Helps, and returns when all are done; rethrows the first exception, after which no further job started.
  void Finish();

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable added_;
  std::deque<std::function<void()>> jobs_;
  std::exception_ptr first_;
  bool ended_ = false;  // nothing more is added
  std::vector<std::jthread> helpers_;
};

}  // namespace gantry
