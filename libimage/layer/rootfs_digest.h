// The rootfs digest: SHA-256 over one line of text for every path of a tree (gantry-identity(5), "The lines").
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libimage/base/digest.h"
#include "libimage/layer/listing.h"

namespace gantry::image {

// Printable ASCII but for blank, '=' and '\\' as it is, every other byte as \xHH: how lines have paths and all other
// texts.
std::string EscapedText(std::string_view text);

// The letter of a type: those of find(1).
char TypeLetter(EntryType type);

// Without its newline.
std::string RootfsLine(const ListedPath& path);

// Calls `line`, unless it is empty, with every line that is hashed, in order.
Digest RootfsDigest(const Listing& tree, const std::function<void(std::string_view)>& line = {});

}  // namespace gantry::image
