#include "libimage/convert/progress_blobs.h"

#include <utility>

namespace gantry::image {
namespace {

uint64_t LayerBytes(const Image& image) {
  uint64_t bytes = 0;
  for (const Descriptor& layer : image.manifest.layers) bytes += layer.size;
  return bytes;
}

}  // namespace

ProgressBlobs::ProgressBlobs(const Blobs& inner, const Image& image, Progress* progress, std::string label)
    : inner_(inner),
      progress_(progress != nullptr ? *progress : SilentProgress()),
      task_(progress_.Begin(std::move(label), LayerBytes(image))) {}

std::unique_ptr<Source> ProgressBlobs::Open(const Descriptor& blob, std::string_view what) const {
  return Tap(inner_.Open(blob, what), [&progress = progress_, task = task_](std::span<const std::byte> bytes) {
    progress.Advance(task, bytes.size());
  });
}

}  // namespace gantry::image
