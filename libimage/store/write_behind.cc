#include "libimage/store/write_behind.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace gantry::image {
namespace {

constexpr size_t kMaxWaiting = 8;  // blocks

class BehindBlob final : public IncomingBlob {
 public:
  explicit BehindBlob(std::unique_ptr<IncomingBlob> blob) : blob_(std::move(blob)), thread_([this] { Run(); }) {}
  BehindBlob(const BehindBlob&) = delete;
  BehindBlob& operator=(const BehindBlob&) = delete;
  ~BehindBlob() override { End(); }

  uint64_t received() const override { return blob_->received(); }

  void Write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      if (!buffer_)
        buffer_ = pool_.Take();
      const size_t n = std::min(bytes.size(), pool_.block_bytes() - filled_);
      std::copy_n(bytes.begin(), n, buffer_.get() + filled_);
      filled_ += n;
      bytes = bytes.subspan(n);
      if (filled_ == pool_.block_bytes() && !Offer())
        std::rethrow_exception(error_);
    }
  }

  void Finish() override {
    End();
    if (error_)
      std::rethrow_exception(error_);
    blob_->Finish();
  }

 private:
  // Hands over what has been collected, once there is room; false after an error.
  bool Offer() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return waiting_.size() < kMaxWaiting || error_; });
    if (error_)
      return false;
    const std::span<const std::byte> bytes(buffer_.get(), std::exchange(filled_, 0));
    waiting_.emplace_back(std::move(buffer_), bytes);
    lock.unlock();
    ready_.notify_one();
    return true;
  }

  void End() {
    if (!thread_.joinable())
      return;
    if (filled_ > 0)
      Offer();
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    ready_.notify_one();
    thread_.join();
  }

  void Run() {
    try {
      for (Block block = Take(); !block.empty(); block = Take()) blob_->Write(block.bytes());
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
      room_.notify_one();
    }
  }

  // Empty at the end.
  Block Take() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return !waiting_.empty() || ended_; });
    if (waiting_.empty())
      return {};
    Block block = std::move(waiting_.front());
    waiting_.pop_front();
    room_.notify_one();
    return block;
  }

  std::unique_ptr<IncomingBlob> blob_;
  BlockPool pool_;
  std::shared_ptr<std::byte[]> buffer_;  // that is being filled
  size_t filled_ = 0;
  std::mutex mutex_;
  std::condition_variable ready_, room_;
  std::deque<Block> waiting_;
  std::exception_ptr error_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<IncomingBlob> WriteBehind(std::unique_ptr<IncomingBlob> blob) {
  return std::make_unique<BehindBlob>(std::move(blob));
}

}  // namespace gantry::image
