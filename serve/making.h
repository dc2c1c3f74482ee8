// Things that are being made for clients: one order for all who want the same, and what they can see of it meanwhile.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "serve/order.h"

namespace gantry::serve {

// One thing on its way. Shared by all who wait for it; none of them can stop it. Thread-safe.
class Making {
 public:
  enum class State { kWaiting, kBegun, kDone, kFailed };

  explicit Making(Order order) : order_(std::move(order)) {}

  const Order& order() const { return order_; }

  // Until it is beyond kWaiting, or beyond kBegun; or until the one who waits has left, which is asked now and then.
  State WaitBegun(const std::function<bool()>& has_left);
  State WaitOver(const std::function<bool()>& has_left);
  // Until it is over or a moment has passed, for readers of a file that grows.
  State WaitForMore();

  bool began_again() const;
  Error error() const;    // of kFailed
  Record record() const;  // of kDone

 private:
  friend class Orders;
  void Set(State state);
  State Wait(const std::function<bool()>& is_over, const std::function<bool()>& has_left);

  const Order order_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::kWaiting;
  bool again_ = false;
  std::optional<Error> error_;
  std::optional<Record> record_;
};

// The front's end of the channel to the kitchen.
class Orders {
 public:
  struct Limits {
    size_t running = 4;    // orders at once
    size_t waiting = 256;  // behind them
  };

  // `over` is called for each that is done or failed, in a thread of ours, before anyone who waits hears of it.
  using Over = std::function<void(const std::shared_ptr<Making>&, const Record*, const Error*)>;

  // `lost` is called when the kitchen is gone, after all that was ordered has failed.
  Orders(UniqueFd channel, Limits limits, Over over, std::function<void()> lost);
  Orders(const Orders&) = delete;
  Orders& operator=(const Orders&) = delete;
  ~Orders();

  // nullptr when too many wait already, or nobody makes anything any more. The order gets its ID here. One of kClean
  // waits for nothing, and takes no other order's place.
  std::shared_ptr<Making> Place(Order order);

  size_t running() const;
  size_t waiting() const;

 private:
  void Hear();
  void FailAll();
  void Take(const Answer& answer);
  void End(uint64_t id, const Record* record, const Error* error);
  // With the mutex.
  size_t Places() const { return running_.size() - cleaning_; }  // that are taken
  void SendNext();
  void Send(const std::shared_ptr<Making>& making);
  // In a thread of its own: who hears would wait for the kitchen, and that for who hears.
  void Speak(const std::stop_token& stop);

  UniqueFd channel_;
  Limits limits_;
  Over over_;
  std::function<void()> lost_;
  mutable std::mutex mutex_;
  bool is_lost_ = false;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::shared_ptr<Making>> running_;
  size_t cleaning_ = 0;  // of those, orders of kClean
  std::deque<std::shared_ptr<Making>> waiting_;
  std::deque<Message> unsent_;
  std::condition_variable_any added_;  // to those
  std::jthread listener_, speaker_;
};

}  // namespace gantry::serve
