#include "libimage/base/workers.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace gantry {

size_t ProcessorCount() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0)
    return 1;
  return static_cast<size_t>(std::max(1, CPU_COUNT(&mask)));
}

void RunParallel(size_t count, size_t threads, const std::function<void(size_t)>& job) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr first;
  const auto work = [&] {
    for (size_t i = next.fetch_add(1); i < count && !failed; i = next.fetch_add(1)) {
      try {
        job(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first)
          first = std::current_exception();
        failed = true;
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t i = 1; i < std::min(threads, count); ++i) helpers.emplace_back(work);
    work();
  }
  if (first)
    std::rethrow_exception(first);
}

JobQueue::JobQueue(size_t threads) {
  for (size_t i = 1; i < threads; ++i) helpers_.emplace_back([this] { Work(); });
}

JobQueue::~JobQueue() {
  const std::lock_guard lock(mutex_);
  jobs_.clear();
  ended_ = true;
  added_.notify_all();
}

void JobQueue::Add(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  added_.notify_one();
}

void JobQueue::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    added_.wait(lock, [this] { return ended_ || !jobs_.empty(); });
    if (jobs_.empty())
      return;
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    std::exception_ptr error;
    try {
      job();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && !first_)
      first_ = error;
    if (first_)
      jobs_.clear();
  }
}

void JobQueue::Finish() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    added_.notify_all();
  }
  Work();
  helpers_.clear();
  if (first_)
    std::rethrow_exception(first_);
}

}  // namespace gantry
