#include "libimage/base/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace gantry {
namespace {

TEST(WorkersTest, RunsEveryJobOnce) {
  std::vector<std::atomic<int>> runs(1000);
  RunParallel(runs.size(), 4, [&](size_t i) { ++runs[i]; });
  for (const auto& count : runs) {
    EXPECT_EQ(count, 1);
  }
}

TEST(WorkersTest, OneThreadRunsThemInOrder) {
  std::vector<size_t> order;
  RunParallel(5, 1, [&](size_t i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 4}));
}

TEST(WorkersTest, TheFirstExceptionStopsTheRestAndIsRethrown) {
  std::atomic<int> started{0};
  const auto job = [&](size_t i) {
    ++started;
    if (i == 3) {
      throw std::runtime_error("job 3");
    }
  };
  EXPECT_THROW(RunParallel(1'000'000, 2, job), std::runtime_error);
  EXPECT_LT(started, 1'000'000);
}

TEST(WorkersTest, NoJobsIsNoWork) {
  RunParallel(0, 4, [](size_t) { FAIL(); });
}

TEST(JobQueueTest, RunsWhatWasAddedUntilItIsFinished) {
  for (const size_t threads : {1, 2, 4}) {
    std::atomic<int> sum{0};
    JobQueue queue(threads);
    for (int i = 1; i <= 1000; ++i) queue.Add([&sum, i] { sum += i; });
    queue.Finish();
    EXPECT_EQ(sum, 500'500);
  }
}

TEST(JobQueueTest, TheFirstExceptionIsRethrownByFinish) {
  for (const size_t threads : {1, 4}) {
    JobQueue queue(threads);
    for (int i = 0; i < 100; ++i) queue.Add([] { throw std::runtime_error("job"); });
    EXPECT_THROW(queue.Finish(), std::runtime_error);
  }
}

TEST(JobQueueTest, DropsWhatWaitsWhenItIsGivenUp) {
  std::atomic<int> ran{0};
  {
    JobQueue queue(1);
    queue.Add([&] { ++ran; });
  }
  EXPECT_EQ(ran, 0);
}

}  // namespace
}  // namespace gantry
