// What takes a stream in threads of its own, behind who brings the bytes.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "libimage/base/stream.h"

namespace gantry {

// A thread that writes to a borrowed sink, which nobody else touches before End.
class SinkThread {
 public:
  explicit SinkThread(Sink& into);
  SinkThread(const SinkThread&) = delete;
  SinkThread& operator=(const SinkThread&) = delete;
  ~SinkThread();  // End(kDrop)

  // Once few blocks wait; none is empty. Throws what the sink threw.
  void Push(Block block);

  // Nothing more comes. What waits is written unless it is dropped, the sink is finished if it is asked for, and the
  // thread is gone. The first call counts.
  enum class Ending { kDrop, kWrite, kFinish };
  void End(Ending ending);

  // After End: what the sink threw, if it did.
  void Rethrow() const;

 private:
  void Run();
  Block Take();

  Sink& into_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Block> waiting_;
  std::exception_ptr error_;
  bool ended_ = false;
  bool finish_ = false;
  std::thread thread_;  // last: it uses all of the above
};

// Makes blocks of kBlockBytes out of pieces of any size.
class BlockFiller {
 public:
  // Copies of `bytes` what fits and drops it there. When that completes a block, it is returned; else an empty one.
  Block Fill(std::span<const std::byte>& bytes);
  Block Rest();  // what is begun, maybe nothing

 private:
  BlockPool pool_;
  std::shared_ptr<std::byte[]> buffer_;
  size_t filled_ = 0;
};

}  // namespace gantry
