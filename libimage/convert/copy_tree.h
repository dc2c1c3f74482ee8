// An index with all its images into one sink.
#pragma once

#include <functional>

#include "libimage/convert/convert.h"
#include "libimage/model/image_tree.h"

namespace gantry::image {

// Puts one image into the sink: Conversion::Copy, or Conversion::Squash.
using CopyImage = std::function<VerifiedImage(const VerifiedImage&)>;

// Adds all of `tree` to `sink`: images by `copy`, artifacts as they are, and indexes, whose bytes stay where nothing in
// them has to change. Else a new index lists what came out, Docker's or OCI's as `options` wants manifests; what has no
// place in a Docker list, and artifacts about an image that has changed, are left out, and options.note is told.
// Returns what is to be named. kUnsupported when the sink takes no index, with preserve_digests for any change, and for
// a tree of artifacts alone where sink or options want layers or manifests of another form.
Descriptor CopyTree(const ImageTree& tree, const Blobs& blobs, ImageSink& sink, const CopyOptions& options,
                    const CopyImage& copy);

// The configuration and the layers of what stays as it is, under the names that it has for them: bytes, whatever their
// types say. A foreign layer that is not in `blobs` is left out.
void CopyBlobsAsTheyAre(const Manifest& manifest, const Blobs& blobs, ImageSink& sink);

}  // namespace gantry::image
