// Blobs that tell a Progress how much of an image's layers has been read.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "libimage/base/progress.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

class ProgressBlobs : public Blobs {
 public:
  // One line for all layers of `image`. `inner` and `progress` (which may be null) are borrowed, also by the sources.
  ProgressBlobs(const Blobs& inner, const Image& image, Progress* progress, std::string label);

  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;
  std::unique_ptr<Source> OpenWhole(const Descriptor& blob, std::string_view what) const override;
  void End() const { progress_.End(task_, "done"); }

 private:
  const Blobs& inner_;
  Progress& progress_;
  int task_;
};

}  // namespace gantry::image
