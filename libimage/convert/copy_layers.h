// The layers of one image into one sink, as they are or recompressed: what Conversion::Copy spends its time with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libimage/convert/convert.h"
#include "libimage/model/blobs.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/image.h"
#include "libimage/model/image_sink.h"
#include "libimage/model/media_type.h"

namespace gantry::image {

// What the form of the sink and the options make of an image.
struct CopyPlan {
  std::string manifest_type;
  std::optional<Compression> layers;  // nullopt: each as it is

  bool Recompresses(const Descriptor& layer) const { return layers && LayerCompression(layer.media_type) != *layers; }
};

// Adds each layer once, for images repeat them, and returns all as they are at the destination. Copies go beside
// recompressions, and of those one begins while another ends; where the sink takes no two blobs at once they come in
// the order of the image. What comes out depends on none of that. Of several layers that fail, the one is told of whose
// turn would have come first, whichever failed first.
std::vector<Descriptor> CopyLayers(const Image& image, const Blobs& blobs, ImageSink& sink, const CopyPlan& plan,
                                   const CopyOptions& options);

}  // namespace gantry::image
