// What ADD does with an archive: a tar, plain or compressed by gzip, bzip2, xz or zstd, is unpacked as tar -x would.
//
// The code is that of layers (unpack.h), with its bounds: nothing is written outside of the directory, whatever the
// archive says.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "libimage/base/dir.h"
#include "libimage/base/stream.h"
#include "libimage/layer/unpack.h"

namespace gantry::image {

// Whether a file is one: its name does not matter, and an archive of nothing is none. kCorrupt for what is compressed
// and damaged.
bool IsArchive(std::unique_ptr<Source> file, std::string_view what);

// Unpacks it into an empty directory. Returns the directories that it implies but does not describe, "" for the root.
// kCorrupt as UnpackLayer, and for hard links to what is not in it; kUnsupported for names that layers cannot hold
// (".wh.x").
std::set<std::string> UnpackArchive(std::unique_ptr<Source> file, const Dir& into, const UnpackOptions& options,
                                    std::string_view what);

}  // namespace gantry::image
