#include "serve/making.h"

#include <sys/socket.h>

#include <utility>

namespace gantry::serve {
namespace {

constexpr std::chrono::milliseconds kMoment(20);
constexpr std::chrono::milliseconds kWhile(500);  // in which nobody notices that a client has left

}  // namespace

void Making::Set(State state) {
  {
    const std::lock_guard lock(mutex_);
    state_ = state;
  }
  changed_.notify_all();
}

Making::State Making::Wait(const std::function<bool()>& is_over, const std::function<bool()>& has_left) {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kWhile, is_over) && !has_left()) continue;
  return state_;
}

Making::State Making::WaitBegun(const std::function<bool()>& has_left) {
  return Wait([this] { return state_ != State::kWaiting; }, has_left);
}

Making::State Making::WaitOver(const std::function<bool()>& has_left) {
  return Wait([this] { return state_ == State::kDone || state_ == State::kFailed; }, has_left);
}

Making::State Making::WaitForMore() {
  std::unique_lock lock(mutex_);
  if (state_ == State::kBegun)
    changed_.wait_for(lock, kMoment);
  return state_;
}

bool Making::began_again() const {
  const std::lock_guard lock(mutex_);
  return again_;
}

Error Making::error() const {
  const std::lock_guard lock(mutex_);
  return error_.value();
}

Record Making::record() const {
  const std::lock_guard lock(mutex_);
  return record_.value();
}

Orders::Orders(UniqueFd channel, Limits limits, Over over, std::function<void()> lost)
    : channel_(std::move(channel)),
      limits_(limits),
      over_(std::move(over)),
      lost_(std::move(lost)),
      listener_([this] { Hear(); }),
      speaker_([this](const std::stop_token& stop) { Speak(stop); }) {}

Orders::~Orders() { shutdown(channel_.get(), SHUT_RDWR); }

std::shared_ptr<Making> Orders::Place(Order order) {
  const std::lock_guard lock(mutex_);
  const bool cleans = order.kind == Order::Kind::kClean;
  if (is_lost_ || (!cleans && Places() >= limits_.running && waiting_.size() >= limits_.waiting))
    return nullptr;
  order.id = ++last_id_;
  auto making = std::make_shared<Making>(std::move(order));
  if (cleans) {
    ++cleaning_;
    Send(making);
    return making;
  }
  waiting_.push_back(making);
  SendNext();
  return making;
}

void Orders::SendNext() {
  while (!waiting_.empty() && Places() < limits_.running) {
    const std::shared_ptr<Making> next = std::move(waiting_.front());
    waiting_.pop_front();
    Send(next);
  }
}

void Orders::Send(const std::shared_ptr<Making>& making) {
  running_.emplace(making->order().id, making);
  unsent_.push_back(making->order().ToMessage());
  added_.notify_one();
}

void Orders::Speak(const std::stop_token& stop) {
  try {
    std::unique_lock lock(mutex_);
    while (added_.wait(lock, stop, [this] { return !unsent_.empty(); })) {
      const Message message = std::move(unsent_.front());
      unsent_.pop_front();
      lock.unlock();
      SendMessage(channel_.get(), message);
      lock.lock();
    }
  } catch (const Error&) {
    // As in Hear.
  }
}

size_t Orders::running() const {
  const std::lock_guard lock(mutex_);
  return Places();
}

size_t Orders::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

void Orders::Hear() {
  try {
    while (const std::optional<Message> message = ReceiveMessage(channel_.get(), kOrderBounds)) {
      if (const std::optional<Answer> answer = Answer::FromMessage(*message))
        Take(*answer);
    }
  } catch (const Error&) {
    // As at the end of what it says.
  }
  FailAll();
  lost_();
}

// With each that ends, one that waits is as good as sent, and ends as well.
void Orders::FailAll() {
  const Error error(ErrorKind::kFailed, "the process that converts is gone");
  while (true) {
    uint64_t id = 0;
    {
      const std::lock_guard lock(mutex_);
      is_lost_ = true;
      if (running_.empty())
        return;
      id = running_.begin()->first;
    }
    End(id, nullptr, &error);
  }
}

void Orders::Take(const Answer& answer) {
  std::shared_ptr<Making> making;
  {
    const std::lock_guard lock(mutex_);
    const auto found = running_.find(answer.id);
    if (found == running_.end())
      return;
    making = found->second;
  }
  if (answer.kind == Answer::Kind::kBegun)
    return making->Set(Making::State::kBegun);
  if (answer.kind == Answer::Kind::kAgain) {
    const std::lock_guard lock(making->mutex_);
    making->again_ = true;
    return;
  }
  if (answer.kind == Answer::Kind::kFailed) {
    const Error error(answer.error, answer.text, answer.hint);
    return End(answer.id, nullptr, &error);
  }
  try {
    const Record record = Record::Parse(answer.text);
    End(answer.id, &record, nullptr);
  } catch (const Error& error) {
    End(answer.id, nullptr, &error);
  }
}

void Orders::End(uint64_t id, const Record* record, const Error* error) {
  std::shared_ptr<Making> making;
  {
    const std::lock_guard lock(mutex_);
    making = running_.at(id);
    running_.erase(id);
    if (making->order().kind == Order::Kind::kClean)
      --cleaning_;
    SendNext();
  }
  std::optional<Error> failure = error != nullptr ? std::optional(*error) : std::nullopt;
  try {
    over_(making, record, error);
  } catch (const Error& late) {
    failure = late;  // what was made cannot be kept
  }
  {
    const std::lock_guard lock(making->mutex_);
    making->error_ = failure;
    if (!failure)
      making->record_ = *record;
  }
  making->Set(failure ? Making::State::kFailed : Making::State::kDone);
}

}  // namespace gantry::serve
