#include "libimage/convert/fan_out.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace gantry::image {
namespace {

constexpr size_t kMaxAhead = 8;  // blocks in a queue

// One sink and the thread that feeds it.
class Branch {
 public:
  explicit Branch(Sink& into) : into_(into), thread_([this] { Run(); }) {}
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;
  ~Branch() { Stop(false); }

  void Push(Block block) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.size() < kMaxAhead || error_; });
    if (error_)
      std::rethrow_exception(error_);
    queue_.push_back(std::move(block));
    changed_.notify_all();
  }

  // Nothing more comes. With `finish` the thread writes what waits and finishes the sink before it ends.
  void Stop(bool finish) {
    if (!thread_.joinable())
      return;
    {
      const std::lock_guard lock(mutex_);
      if (!finish)
        queue_.clear();
      finish_ = finish;
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  // After Stop.
  void Rethrow() const {
    if (error_)
      std::rethrow_exception(error_);
  }

 private:
  void Run() {
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

  Block Take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !queue_.empty() || ended_; });
    if (queue_.empty())
      return {};
    Block block = std::move(queue_.front());
    queue_.pop_front();
    changed_.notify_all();
    return block;
  }

  Sink& into_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Block> queue_;
  std::exception_ptr error_;
  bool ended_ = false;
  bool finish_ = false;
  std::thread thread_;  // last: it uses all of the above
};

class ThreadedFanOut : public Sink {
 public:
  explicit ThreadedFanOut(const std::vector<Sink*>& into) {
    for (Sink* sink : into) branches_.push_back(std::make_unique<Branch>(*sink));
  }

  void Write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      if (!buffer_)
        buffer_ = pool_.Take();
      const size_t n = std::min(bytes.size(), pool_.block_bytes() - used_);
      std::memcpy(buffer_.get() + used_, bytes.data(), n);
      used_ += n;
      bytes = bytes.subspan(n);
      if (used_ == pool_.block_bytes())
        Flush();
    }
  }

  void Finish() override {
    Flush();
    for (const auto& branch : branches_) branch->Stop(true);
    for (const auto& branch : branches_) branch->Rethrow();
  }

 private:
  void Flush() {
    if (used_ == 0)
      return;
    const std::span<const std::byte> bytes(buffer_.get(), used_);
    const Block block(std::exchange(buffer_, nullptr), bytes);
    used_ = 0;
    for (const auto& branch : branches_) branch->Push(block);
  }

  BlockPool pool_;
  std::shared_ptr<std::byte[]> buffer_;
  size_t used_ = 0;
  std::vector<std::unique_ptr<Branch>> branches_;
};

class PlainFanOut : public Sink {
 public:
  explicit PlainFanOut(std::vector<Sink*> into) : into_(std::move(into)) {}
  void Write(std::span<const std::byte> bytes) override {
    for (Sink* sink : into_) sink->Write(bytes);
  }
  void Finish() override {
    for (Sink* sink : into_) sink->Finish();
  }

 private:
  std::vector<Sink*> into_;
};

}  // namespace

std::unique_ptr<Sink> FanOut(const std::vector<Sink*>& into) { return std::make_unique<ThreadedFanOut>(into); }

std::unique_ptr<Sink> FanOutHere(std::vector<Sink*> into) { return std::make_unique<PlainFanOut>(std::move(into)); }

}  // namespace gantry::image
