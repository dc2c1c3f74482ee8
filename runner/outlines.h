// The identity of an image (gantry-identity(5)), learned while its layers are rendered: kept in the store for whoever
// asks later. Nothing here can keep an image from being rendered; an identity that cannot be learned is found when it
// is needed.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/layer/flatten.h"
#include "libimage/model/image.h"
#include "libimage/store/store.h"

namespace gantry::runner {

class Outlines {
 public:
  // Takes outlines if `store` does not know the identity yet. Both are borrowed.
  Outlines(const image::Image& image, const image::Store& store);
  Outlines(const Outlines&) = delete;
  Outlines& operator=(const Outlines&) = delete;
  ~Outlines();

  // Where the entries of a layer go, from its first to End; null when they are not wanted. Both are thread-safe for
  // different layers.
  image::EntrySink* Begin(size_t layer);
  void End(size_t layer);

  // After the End of every layer.
  void Keep();

 private:
  class Outline;
  const image::Image& image_;
  const image::Store& store_;
  std::optional<Dir> tmp_;  // nullopt: not wanted
  std::vector<std::unique_ptr<Outline>> outlines_;
};

}  // namespace gantry::runner
