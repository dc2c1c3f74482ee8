// A file as plain bytes that can be read at any place, however it is kept or comes.
#pragma once

#include <cstdint>
#include <string>

#include "libimage/base/fd.h"

namespace gantry::image {

struct PlainFile {
  UniqueFd fd;
  uint64_t size = 0;
};

// Opens `path`. A regular file that is not compressed is read in place. What is compressed (gzip, zstd, xz, bzip2), and
// what cannot be sought (a pipe), is written once, decompressed within the bounds of layer/compression.h, to a file
// without a name in LargeTemporaryDirectory(). The descriptor can only be read: it may be handed on. kFailed for
// directories and devices.
PlainFile OpenPlainFile(const std::string& path);

// $TMPDIR, else /var/tmp: where files lie that are as large as an image.
std::string LargeTemporaryDirectory();

}  // namespace gantry::image
