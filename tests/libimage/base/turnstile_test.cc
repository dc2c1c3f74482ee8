#include "libimage/base/turnstile.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "libimage/base/workers.h"

namespace gantry {
namespace {

TEST(TurnstileTest, LetsJobsInByTheirNumbers) {
  Turnstile stile(1);
  std::vector<size_t> order;
  RunParallel(200, 8, [&](size_t number) {
    Turnstile::Turn turn(stile, number);
    if (number % 3 == 0)
      std::this_thread::yield();
    turn.Wait();
    order.push_back(number);
  });
  ASSERT_EQ(order.size(), 200u);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i);
}

TEST(TurnstileTest, NoMoreAreInThanAreLet) {
  Turnstile stile(3);
  std::atomic<int> in{0};
  std::atomic<int> most{0};
  RunParallel(500, 8, [&](size_t number) {
    Turnstile::Turn turn(stile, number);
    turn.Wait();
    const int now = ++in;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::yield();
    --in;
  });
  EXPECT_LE(most, 3);
}

TEST(TurnstileTest, OneThatNeverWaitsHoldsNobodyUp) {
  Turnstile stile(1);
  std::atomic<int> let{0};
  RunParallel(100, 4, [&](size_t number) {
    Turnstile::Turn turn(stile, number);
    if (number % 2 == 0)
      return;
    turn.Wait();
    turn.End();
    turn.End();
    ++let;
  });
  EXPECT_EQ(let, 50);
}

}  // namespace
}  // namespace gantry
