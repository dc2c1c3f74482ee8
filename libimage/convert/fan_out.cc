#include "libimage/convert/fan_out.h"

#include <utility>

#include "libimage/base/sink_thread.h"

namespace gantry::image {
namespace {

class ThreadedFanOut : public Sink {
 public:
  explicit ThreadedFanOut(const std::vector<Sink*>& into) {
    for (Sink* sink : into) branches_.push_back(std::make_unique<SinkThread>(*sink));
  }

  void Write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) Push(filler_.Fill(bytes));
  }

  void Finish() override {
    Push(filler_.Rest());
    for (const auto& branch : branches_) branch->End(SinkThread::Ending::kFinish);
    for (const auto& branch : branches_) branch->Rethrow();
  }

 private:
  void Push(const Block& block) {
    if (block.empty())
      return;
    for (const auto& branch : branches_) branch->Push(block);
  }

  BlockFiller filler_;
  std::vector<std::unique_ptr<SinkThread>> branches_;
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
