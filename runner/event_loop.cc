#include "runner/event_loop.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

int64_t MillisecondsNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

void EventLoop::Watch(int fd, Action action) { actions_[fd] = std::move(action); }
void EventLoop::Forget(int fd) { actions_.erase(fd); }
void EventLoop::WatchRoom(int fd, Action action) { room_actions_[fd] = std::move(action); }
void EventLoop::ForgetRoom(int fd) { room_actions_.erase(fd); }

void EventLoop::Call(const std::map<int, Action>& actions, int fd) {
  const auto found = actions.find(fd);
  if (found == actions.end())
    return;
  const Action action = found->second;  // it may forget itself
  action();
}

uint64_t EventLoop::After(int64_t milliseconds, Action action) {
  timers_.emplace(next_timer_, Timer{MillisecondsNow() + milliseconds, std::move(action)});
  return next_timer_++;
}

int EventLoop::NextTimeout() const {
  if (timers_.empty())
    return -1;
  int64_t due = std::numeric_limits<int64_t>::max();
  for (const auto& [number, timer] : timers_) due = std::min(due, timer.due);
  return static_cast<int>(std::clamp<int64_t>(due - MillisecondsNow() + 1, 0, 1'000'000));
}

void EventLoop::CallTimers() {
  const int64_t now = MillisecondsNow();
  std::vector<uint64_t> due;
  for (const auto& [number, timer] : timers_) {
    if (timer.due <= now)
      due.push_back(number);
  }
  for (const uint64_t number : due) {
    // An action may have cancelled it.
    const auto found = timers_.find(number);
    if (found == timers_.end())
      continue;
    const Action action = std::move(found->second.action);
    timers_.erase(found);
    action();
  }
}

void EventLoop::Run(const std::function<bool()>& done) {
  while (!done()) {
    std::vector<pollfd> waiting;
    for (const auto& [fd, action] : actions_) waiting.push_back({fd, POLLIN, 0});
    for (const auto& [fd, action] : room_actions_) waiting.push_back({fd, POLLOUT, 0});
    if (poll(waiting.data(), waiting.size(), NextTimeout()) < 0 && errno != EINTR)
      ThrowErrno("poll");
    for (const pollfd& one : waiting) {
      if (one.revents != 0)
        Call(one.events == POLLIN ? actions_ : room_actions_, one.fd);
    }
    CallTimers();
  }
}

}  // namespace gantry::runner
