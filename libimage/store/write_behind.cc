#include "libimage/store/write_behind.h"

#include <utility>

#include "libimage/base/sink_thread.h"

namespace gantry::image {
namespace {

class BehindBlob final : public IncomingBlob {
 public:
  explicit BehindBlob(std::unique_ptr<IncomingBlob> blob) : blob_(std::move(blob)), thread_(*blob_) {}
  BehindBlob(const BehindBlob&) = delete;
  BehindBlob& operator=(const BehindBlob&) = delete;
  ~BehindBlob() override {
    try {
      Push(filler_.Rest());
    } catch (...) {  // of the sink, whose blob nobody finishes
    }
    thread_.End(SinkThread::Ending::kWrite);
  }

  uint64_t received() const override { return blob_->received(); }

  void Write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) Push(filler_.Fill(bytes));
  }

  void Check() override {
    AwaitWritten();
    blob_->Check();
  }

  // The sync at the end is the caller's to wait for.
  void Finish() override {
    AwaitWritten();
    blob_->Finish();
  }

 private:
  void AwaitWritten() {
    Push(filler_.Rest());
    thread_.End(SinkThread::Ending::kWrite);
    thread_.Rethrow();
  }

  void Push(Block block) {
    if (!block.empty())
      thread_.Push(std::move(block));
  }

  std::unique_ptr<IncomingBlob> blob_;
  BlockFiller filler_;
  SinkThread thread_;
};

}  // namespace

std::unique_ptr<IncomingBlob> WriteBehind(std::unique_ptr<IncomingBlob> blob) {
  return std::make_unique<BehindBlob>(std::move(blob));
}

}  // namespace gantry::image
