#include "libimage/convert/progress_blobs.h"

#include <utility>

namespace gantry::image {
namespace {

uint64_t LayerBytes(const Image& image) {
  uint64_t bytes = 0;
  for (const Descriptor& layer : image.manifest.layers) bytes += layer.size;
  return bytes;
}

class ProgressSource : public Source {
 public:
  ProgressSource(std::unique_ptr<Source> inner, Progress& progress, int task)
      : inner_(std::move(inner)), progress_(progress), task_(task) {}

  Block Next() override {
    Block block = inner_->Next();
    progress_.Advance(task_, block.size());
    return block;
  }
  std::optional<FileRange> File() const override { return inner_->File(); }
  void Took(uint64_t bytes) override { progress_.Advance(task_, bytes); }

 private:
  std::unique_ptr<Source> inner_;
  Progress& progress_;
  const int task_;
};

}  // namespace

ProgressBlobs::ProgressBlobs(const Blobs& inner, const Image& image, Progress* progress, std::string label)
    : inner_(inner),
      progress_(progress != nullptr ? *progress : SilentProgress()),
      task_(progress_.Begin(std::move(label), LayerBytes(image))) {}

std::unique_ptr<Source> ProgressBlobs::Open(const Descriptor& blob, std::string_view what) const {
  return std::make_unique<ProgressSource>(inner_.Open(blob, what), progress_, task_);
}

std::unique_ptr<Source> ProgressBlobs::OpenWhole(const Descriptor& blob, std::string_view what) const {
  return std::make_unique<ProgressSource>(inner_.OpenWhole(blob, what), progress_, task_);
}

}  // namespace gantry::image
