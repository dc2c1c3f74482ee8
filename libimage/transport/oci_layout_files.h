// The files of an OCI image layout, for its reader and its writer.
#pragma once

#include <optional>
#include <string>

#include "libimage/base/digest.h"
#include "libimage/base/dir.h"

namespace gantry::image {

// blobs/ALGORITHM/HEX.
RelPath BlobPath(const Digest& digest);

// A regular file of the layout; nullopt when it is absent, kCorrupt when it is or lies behind something else than
// directories and a regular file.
std::optional<UniqueFd> OpenLayoutFile(const Dir& dir, const RelPath& path);

// The whole of one; kCorrupt when it is absent or longer.
std::string ReadLayoutFile(const Dir& dir, const std::string& name, size_t max_bytes);

// False when there is no oci-layout file; kUnsupported when it tells another version than 1.0.
bool CheckLayoutVersion(const Dir& dir);

}  // namespace gantry::image
