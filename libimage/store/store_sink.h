// The local store as a place that images are converted into. What is not vouched for gets no name there.
#pragma once

#include <memory>

#include "libimage/model/image_sink.h"
#include "libimage/store/store.h"

namespace gantry::image {

// Adds images to a store that the sink owns. A name is one that Store::SetName takes, and is kFailed when it has
// another image and not `overwrite`; what is named must have been vouched for. A name stands for one image: no indexes.
std::unique_ptr<ImageSink> IntoStore(std::unique_ptr<Store> store, bool overwrite);

}  // namespace gantry::image
