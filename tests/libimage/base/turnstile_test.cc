#include "libimage/base/turnstile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
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
  std::atomic<int> in{0};
  std::atomic<int> most{0};
  RunParallel(100, 4, [&](size_t number) {
    Turnstile::Turn turn(stile, number);
    if (number % 2 == 0)
      return;
    turn.Wait();
    most = std::max<int>(most, ++in);
    std::this_thread::yield();
    --in;
    turn.End();
    turn.End();
    ++let;
  });
  EXPECT_EQ(let, 50);
  EXPECT_EQ(most, 1);
}

TEST(TurnstileTest, OneThatIsSkippedDoesNotLetOthersInBeforeTheirTurn) {
  Turnstile stile(1);
  { const Turnstile::Turn first(stile, 0); }
  Turnstile::Turn second(stile, 1);
  second.Wait();
  std::atomic<bool> in{false};
  std::jthread third([&] {
    Turnstile::Turn turn(stile, 2);
    turn.Wait();
    in = true;
  });
  { const Turnstile::Turn skipped(stile, 3); }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(in) << "beside the second one";
  second.End();
  third.join();
  EXPECT_TRUE(in);
}

}  // namespace
}  // namespace gantry
