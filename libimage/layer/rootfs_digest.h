// The rootfs digest: SHA-256 over one line of text for every path of a tree (gantry-identity(5), "The lines").
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libimage/base/digest.h"
#include "libimage/layer/listing.h"

namespace gantry::image {

// Without its newline.
std::string RootfsLine(const ListedPath& path);

// Calls `line`, unless it is empty, with every line that is hashed, in order.
Digest RootfsDigest(const Listing& tree, const std::function<void(std::string_view)>& line = {});

}  // namespace gantry::image
