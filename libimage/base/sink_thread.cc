#include "libimage/base/sink_thread.h"

#include <algorithm>
#include <utility>

namespace gantry {
namespace {

constexpr size_t kMaxWaiting = 16;  // blocks

}  // namespace

SinkThread::SinkThread(Sink& into) : into_(into), thread_([this] { Run(); }) {}

SinkThread::~SinkThread() { End(Ending::kDrop); }

void SinkThread::Push(Block block) {
  std::unique_lock lock(mutex_);
  // Once all places were taken, until half are free: to be woken for each block costs more than the block.
  if (waiting_.size() >= kMaxWaiting)
    changed_.wait(lock, [this] { return waiting_.size() <= kMaxWaiting / 2 || error_; });
  if (error_)
    std::rethrow_exception(error_);
  waiting_.push_back(std::move(block));
  lock.unlock();
  changed_.notify_all();
}

void SinkThread::End(Ending ending) {
  if (!thread_.joinable())
    return;
  {
    const std::lock_guard lock(mutex_);
    if (ending == Ending::kDrop)
      waiting_.clear();
    finish_ = ending == Ending::kFinish;
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SinkThread::Rethrow() const {
  if (error_)
    std::rethrow_exception(error_);
}

void SinkThread::Run() {
  try {
    for (Block block = Take(); !block.empty(); block = Take()) into_.Write(block.bytes());
    if (finish_)
      into_.Finish();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

// Empty at the end.
Block SinkThread::Take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !waiting_.empty() || ended_; });
  if (waiting_.empty())
    return {};
  Block block = std::move(waiting_.front());
  waiting_.pop_front();
  const bool room = waiting_.size() <= kMaxWaiting / 2;
  lock.unlock();
  if (room)
    changed_.notify_all();
  return block;
}

Block BlockFiller::Fill(std::span<const std::byte>& bytes) {
  if (!buffer_)
    buffer_ = pool_.Take();
  const size_t n = std::min(bytes.size(), pool_.block_bytes() - filled_);
  std::copy_n(bytes.begin(), n, buffer_.get() + filled_);
  filled_ += n;
  bytes = bytes.subspan(n);
  return filled_ == pool_.block_bytes() ? Rest() : Block();
}

Block BlockFiller::Rest() {
  const std::span<const std::byte> bytes(buffer_.get(), std::exchange(filled_, 0));
  return bytes.empty() ? Block() : Block(std::exchange(buffer_, nullptr), bytes);
}

}  // namespace gantry
