// Files of this machine on their way into an image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libimage/build/upper.h"

namespace gantry::tools {

// Each of `from` to `to`, or with `into_directory` into that, under its own name: owned by root, modes and times kept.
// A directory is copied with all that is in it. Returns the newest time.
int64_t CopyFromHost(image::Upper& upper, const std::vector<std::string>& from, const std::string& to,
                     bool into_directory);

}  // namespace gantry::tools
