#include "libimage/transport/upload_turns.h"

#include <limits>

namespace gantry::image {

UploadTurns::Turn UploadTurns::Announce(uint64_t size) {
  const std::lock_guard lock(mutex_);
  // Of the same size the first comes first.
  const std::pair<uint64_t, size_t> place(size, std::numeric_limits<size_t>::max() - last_number_++);
  waiting_.insert(place);
  return {*this, place};
}

bool UploadTurns::MayBegin(const Turn& turn) const {
  return *waiting_.rbegin() == turn.place_ && (slow_ || running_ < at_first_);
}

void UploadTurns::JudgeSpeed() {
  const std::chrono::duration<double> passed = Clock::now() - since_;
  if (passed < kPatience || running_ == 0)
    return;
  if (static_cast<double>(sent_) < kFastBytesPerSecond * passed.count()) {
    slow_ = true;
    changed_.notify_all();
  }
  sent_ = 0;
  since_ = Clock::now();
}

void UploadTurns::Turn::Await() {
  UploadTurns& turns = *turns_;
  std::unique_lock lock(turns.mutex_);
  while (!turns.MayBegin(*this)) {
    if (turns.changed_.wait_for(lock, kPatience) == std::cv_status::timeout)
      turns.JudgeSpeed();
  }
  turns.waiting_.erase(place_);
  if (turns.running_++ == 0) {
    turns.sent_ = 0;
    turns.since_ = Clock::now();
  }
  turns.changed_.notify_all();
}

void UploadTurns::Turn::Sent(uint64_t bytes) {
  const std::lock_guard lock(turns_->mutex_);
  turns_->sent_ += bytes;
}

UploadTurns::Turn::~Turn() {
  if (turns_ == nullptr)
    return;
  const std::lock_guard lock(turns_->mutex_);
  if (turns_->waiting_.erase(place_) == 0)
    --turns_->running_;
  turns_->changed_.notify_all();
}

}  // namespace gantry::image
