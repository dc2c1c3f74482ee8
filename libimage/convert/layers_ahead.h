// The layers of an image for a Flattener, which reads them from the top to the base: while one is read, the blob of the
// next is opened, and its beginning hashed.
#pragma once

#include <memory>
#include <utility>

#include "libimage/base/stream.h"
#include "libimage/layer/layer.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

class LayersAhead {
 public:
  // Borrows both. Without `threaded` all is done when it is read, in the reader's thread.
  LayersAhead(const Blobs& blobs, const Image& image, bool threaded)
      : blobs_(blobs), image_(image), threaded_(threaded) {}

  std::unique_ptr<Source> Open(size_t layer) {
    if (!threaded_)
      return OpenLayer(blobs_, image_, layer, false);
    std::unique_ptr<Source> source =
        next_ && next_layer_ == layer ? std::move(next_) : OpenLayer(blobs_, image_, layer);
    if (!next_ && layer > 0) {
      next_layer_ = layer - 1;
      next_ = OpenLayer(blobs_, image_, next_layer_);
    }
    return source;
  }

 private:
  const Blobs& blobs_;
  const Image& image_;
  bool threaded_;
  size_t next_layer_ = 0;
  std::unique_ptr<Source> next_;
};

}  // namespace gantry::image
