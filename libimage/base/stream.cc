#include "libimage/base/stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "libimage/base/error.h"

namespace gantry {

struct BlockPool::Free {
  static constexpr size_t kMaxKept = 32;
  std::mutex mutex;
  std::vector<std::unique_ptr<std::byte[]>> buffers;
};

BlockPool::BlockPool(size_t block_bytes) : block_bytes_(block_bytes), free_(std::make_shared<Free>()) {}

std::shared_ptr<std::byte[]> BlockPool::Take() {
  std::unique_ptr<std::byte[]> buffer;
  {
    const std::lock_guard lock(free_->mutex);
    if (!free_->buffers.empty()) {
      buffer = std::move(free_->buffers.back());
      free_->buffers.pop_back();
    }
  }
  if (!buffer)
    buffer = std::unique_ptr<std::byte[]>(new std::byte[block_bytes_]);
  return {buffer.release(), [free = free_](std::byte* used) {
            std::unique_ptr<std::byte[]> back(used);
            const std::lock_guard lock(free->mutex);
            if (free->buffers.size() < Free::kMaxKept)
              free->buffers.push_back(std::move(back));
          }};
}

namespace {

// Whoever gets a descriptor gets all that it allows.
bool IsFileForReadingOnly(int fd) {
  struct stat status {};
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

class WholeBlockSource : public Source {
 public:
  explicit WholeBlockSource(Block block) : block_(std::move(block)) {}
  Block Next() override { return std::exchange(block_, Block()); }

 private:
  Block block_;
};

class FdSourceImpl : public Source {
 public:
  FdSourceImpl(UniqueFd fd, std::string what)
      : fd_(std::make_shared<const UniqueFd>(std::move(fd))), what_(std::move(what)) {}

  Block Next() override {
    std::shared_ptr<std::byte[]> buffer = pool_.Take();
    ssize_t n = 0;
    do {
      n = read(fd_->get(), buffer.get(), pool_.block_bytes());
    } while (n < 0 && errno == EINTR);
    if (n < 0)
      ThrowErrno("read " + what_);
    const std::span<const std::byte> bytes(buffer.get(), static_cast<size_t>(n));
    return {std::move(buffer), bytes};
  }

  std::optional<FileRange> File() const override {
    struct stat status {};
    const off_t at = lseek(fd_->get(), 0, SEEK_CUR);
    if (!IsFileForReadingOnly(fd_->get()) || at < 0 || fstat(fd_->get(), &status) < 0 || status.st_size < at)
      return std::nullopt;
    return FileRange{fd_, static_cast<uint64_t>(at), static_cast<uint64_t>(status.st_size - at)};
  }

 private:
  std::shared_ptr<const UniqueFd> fd_;
  std::string what_;
  BlockPool pool_;
};

class FdRangeSourceImpl : public Source {
 public:
  FdRangeSourceImpl(std::shared_ptr<const UniqueFd> fd, uint64_t offset, uint64_t size, std::string what)
      : fd_(std::move(fd)), offset_(offset), left_(size), what_(std::move(what)) {}

  Block Next() override {
    if (left_ == 0)
      return {};
    std::shared_ptr<std::byte[]> buffer = pool_.Take();
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(left_, pool_.block_bytes()));
    const std::span<std::byte> room(buffer.get(), wanted);
    const size_t n = ReadFullAt(fd_->get(), offset_, room, what_);
    if (n < wanted)
      throw Error(ErrorKind::kCorrupt, what_ + ": the file ends " + std::to_string(left_ - n) + " bytes early");
    offset_ += n;
    left_ -= n;
    return {std::move(buffer), room};
  }

  std::optional<FileRange> File() const override {
    return IsFileForReadingOnly(fd_->get()) ? std::optional(FileRange{fd_, offset_, left_}) : std::nullopt;
  }

 private:
  std::shared_ptr<const UniqueFd> fd_;
  uint64_t offset_;
  uint64_t left_;
  std::string what_;
  BlockPool pool_;
};

class PrefetchSource : public Source {
 public:
  PrefetchSource(std::unique_ptr<Source> inner, size_t depth)
      : inner_(std::move(inner)), depth_(depth), thread_([this] { Run(); }) {}

  ~PrefetchSource() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    room_.notify_one();
    thread_.join();
  }

  Block Next() override {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return !queue_.empty() || ended_; });
    if (!queue_.empty()) {
      Block block = std::move(queue_.front());
      queue_.pop_front();
      const bool room = queue_.size() <= depth_ / 2;
      lock.unlock();
      if (room)
        room_.notify_one();
      return block;
    }
    if (error_)
      std::rethrow_exception(error_);
    return {};
  }

 private:
  void Run() {
    std::exception_ptr error;
    try {
      while (Offer(inner_->Next())) {
      }
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    error_ = error;
    ended_ = true;
    ready_.notify_one();
  }

  // False when the stream has ended or nobody wants more. Once the queue was full it waits for half of it: to be woken
  // for each block costs more than the block.
  bool Offer(Block block) {
    if (block.empty())
      return false;
    std::unique_lock lock(mutex_);
    if (queue_.size() >= depth_)
      room_.wait(lock, [this] { return queue_.size() <= depth_ / 2 || stop_; });
    if (stop_)
      return false;
    queue_.push_back(std::move(block));
    lock.unlock();
    ready_.notify_one();
    return true;
  }

  std::unique_ptr<Source> inner_;
  size_t depth_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable room_;
  std::deque<Block> queue_;
  std::exception_ptr error_;
  bool ended_ = false;
  bool stop_ = false;
  std::thread thread_;  // last: it uses all of the above
};

using Seen = std::function<void(std::span<const std::byte>)>;

class TapSource : public Source {
 public:
  TapSource(std::unique_ptr<Source> inner, Seen seen) : inner_(std::move(inner)), seen_(std::move(seen)) {}
  Block Next() override {
    Block block = inner_->Next();
    if (!block.empty())
      seen_(block.bytes());
    return block;
  }

 private:
  std::unique_ptr<Source> inner_;
  Seen seen_;
};

class FdSinkImpl : public Sink {
 public:
  FdSinkImpl(int fd, std::string what) : fd_(fd), what_(std::move(what)) {}
  void Write(std::span<const std::byte> bytes) override { WriteFull(fd_, bytes, what_); }
  void Finish() override {}

 private:
  int fd_;
  std::string what_;
};

class StringSinkImpl : public Sink {
 public:
  explicit StringSinkImpl(std::string& out) : out_(out) {}
  void Write(std::span<const std::byte> bytes) override { out_ += AsText(bytes); }
  void Finish() override {}

 private:
  std::string& out_;
};

class TapSinkImpl : public Sink {
 public:
  TapSinkImpl(Sink& inner, Seen seen) : inner_(inner), seen_(std::move(seen)) {}
  void Write(std::span<const std::byte> bytes) override {
    seen_(bytes);
    inner_.Write(bytes);
  }
  void Finish() override { inner_.Finish(); }

 private:
  Sink& inner_;
  Seen seen_;
};

}  // namespace

std::unique_ptr<Source> MemorySource(std::span<const std::byte> bytes) {
  return std::make_unique<WholeBlockSource>(Block(nullptr, bytes));
}

std::unique_ptr<Source> StringSource(std::string text) {
  auto owner = std::make_shared<const std::string>(std::move(text));
  const std::span<const std::byte> bytes = AsBytes(*owner);
  return std::make_unique<WholeBlockSource>(Block(std::move(owner), bytes));
}

std::unique_ptr<Source> FdSource(UniqueFd fd, std::string what) {
  return std::make_unique<FdSourceImpl>(std::move(fd), std::move(what));
}

std::unique_ptr<Source> FdRangeSource(std::shared_ptr<const UniqueFd> fd, uint64_t offset, uint64_t size,
                                      std::string what) {
  return std::make_unique<FdRangeSourceImpl>(std::move(fd), offset, size, std::move(what));
}

std::unique_ptr<Source> Prefetch(std::unique_ptr<Source> inner, size_t depth) {
  return std::make_unique<PrefetchSource>(std::move(inner), depth);
}

std::unique_ptr<Source> Tap(std::unique_ptr<Source> inner, Seen seen) {
  return std::make_unique<TapSource>(std::move(inner), std::move(seen));
}

std::unique_ptr<Sink> FdSink(int fd, std::string what) { return std::make_unique<FdSinkImpl>(fd, std::move(what)); }

std::unique_ptr<Sink> StringSink(std::string& out) { return std::make_unique<StringSinkImpl>(out); }

std::unique_ptr<Sink> TapSink(Sink& inner, Seen seen) { return std::make_unique<TapSinkImpl>(inner, std::move(seen)); }

std::string Drain(Source& source, size_t max_bytes, std::string_view what) {
  std::string out;
  for (Block block = source.Next(); !block.empty(); block = source.Next()) {
    if (block.size() > max_bytes - out.size()) {
      throw Error(ErrorKind::kCorrupt, std::string(what) + " is longer than " + std::to_string(max_bytes) + " bytes");
    }
    out += AsText(block.bytes());
  }
  return out;
}

uint64_t Copy(Source& from, Sink& to) {
  uint64_t copied = 0;
  for (Block block = from.Next(); !block.empty(); block = from.Next()) {
    to.Write(block.bytes());
    copied += block.size();
  }
  return copied;
}

}  // namespace gantry
