// Layers: what the names in a layer's tar mean, and the tar of one layer of an image.
//
// OCI image-spec, layer.md. A name is untrusted until Classify made a path of it; a path that stays inside as text may
// still meet a symbolic link, which is the business of whoever walks it (unpack.h, flatten.h).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "libimage/base/dir.h"
#include "libimage/base/stream.h"
#include "libimage/layer/archive.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

constexpr size_t kMaxNameBytes = 255;   // NAME_MAX
constexpr size_t kMaxPathBytes = 4095;  // PATH_MAX without its NUL
constexpr size_t kMaxPathDepth = 512;   // components; no honest image comes near, and trees must stay removable

// What one entry of a layer is about.
struct LayerEntry {
  enum class Kind {
    kPath,      // a file, directory, link or device at `path`
    kWhiteout,  // `path` of the layers below is gone; what this layer has there stays, in whatever order they come
    kOpaque,    // all that the layers below have in the directory `path` is gone
    kIgnored,   // AUFS's bookkeeping (".wh..wh.plnk" and the like, and what is in it)
  };
  Kind kind = Kind::kPath;
  std::optional<RelPath> path;  // nullopt is the root directory of the image
};

// Leading "/" and "./", doubled and trailing slashes and "/./" do not count. kCorrupt: a ".." anywhere, a NUL, more
// than RelPath or kMaxPathDepth allows, a root that is not a directory (CVE-2021-29136), ".wh." without a name or with
// "." or "..", a path through a whiteout.
LayerEntry Classify(const Entry& entry);

// The target of a hard link as a path from the root of the image, by the same rules. kCorrupt for the root itself.
RelPath HardLinkTarget(std::string_view link);

// The parent, "" for the root, and the last name of such a path.
std::pair<std::string_view, std::string_view> SplitPath(std::string_view path);

// The uncompressed tar of layer `index` (0 is the base) of `image`. The kind of compression is found from the first
// bytes and must be the one that the media type says (kCorrupt), and at the end of the stream the digest must be the
// diff ID. kUnsupported for media types that are no tar layer. Reads the first block at once. The blob is read and
// hashed in one thread, from now on, and once the first block of the tar is wanted, inflated in another and hashed
// again in a third, each a few blocks ahead of the next and the reader; with `ahead` false all is done in the reader's.
std::unique_ptr<Source> OpenLayer(const Blobs& blobs, const Image& image, size_t index, bool ahead = true);

// As OpenLayer without a look at the diff ID, for who hashes the bytes anyway and calls RequireDigest at their end.
std::unique_ptr<Source> OpenUncheckedLayer(const Blobs& blobs, const Image& image, size_t index, bool ahead = true);

// As OpenLayer for one of several layers that are read at once: all is done in the reader's thread until
// `processor_free`, which is asked before each block; from then on there are the three threads.
std::unique_ptr<Source> OpenLayerAmong(const Blobs& blobs, const Image& image, size_t index,
                                       const std::function<bool()>& processor_free);

// "layer 2 of 5 (sha256:0123456789ab)": how errors and progress call it.
std::string LayerName(const Image& image, size_t index);

}  // namespace gantry::image
