// Waits for many descriptors at once and calls what each of them is for: the loop of a process that attends to a pod.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

namespace gantry::runner {

class EventLoop {
 public:
  using Action = std::function<void()>;

  // Calls `action` whenever `fd`, which is borrowed, can be read without waiting, or has ended. One action for each fd.
  void Watch(int fd, Action action);
  void Forget(int fd);
  // The same for when `fd` can be written to without waiting, or nobody reads it any more.
  void WatchRoom(int fd, Action action);
  void ForgetRoom(int fd);
  bool Watches(int fd) const { return actions_.contains(fd); }

  // Calls `action` once, after so many milliseconds. The number cancels it.
  uint64_t After(int64_t milliseconds, Action action);
  void Cancel(uint64_t timer) { timers_.erase(timer); }

  // Until `done` says so, which is asked after each event. Exceptions of actions leave it.
  void Run(const std::function<bool()>& done);

 private:
  struct Timer {
    int64_t due;  // CLOCK_MONOTONIC, milliseconds
    Action action;
  };
  int NextTimeout() const;
  void CallTimers();
  static void Call(const std::map<int, Action>& actions, int fd);
  std::map<int, Action> actions_, room_actions_;
  std::map<uint64_t, Timer> timers_;
  uint64_t next_timer_ = 1;
};

}  // namespace gantry::runner
