// Images into other formats, in one streaming pass: trust goes in with the VerifiedImage, and the bytes that come out
// are what it vouches for, encoded anew. Nothing is unpacked and nothing is kept in memory but the index of paths.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "libimage/base/progress.h"
#include "libimage/base/stream.h"
#include "libimage/convert/docker_to_appc.h"
#include "libimage/layer/flatten.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/media_type.h"

namespace gantry::image {

struct AciOptions {
  AciNaming naming;
  Compression compression = Compression::kGzip;  // or kNone
  size_t threads = 1;                            // the output does not depend on it
  int64_t epoch = 0;                             // mtime of what the image does not date: the manifest, /dev links
  Progress* progress = nullptr;                  // borrowed; null says nothing
};

struct AciResult {
  Digest image_id;     // SHA-512 of the uncompressed tar
  uint64_t bytes = 0;  // of the file, compressed
  FlattenResult flattened;
};

// Makes the place empty where the ACI goes, and opens it for writing. Called a second time when the conversion must
// start over, which a path that a layer holds twice can cause.
using OpenOutput = std::function<std::unique_ptr<Sink>()>;

// A squashed ACI: `manifest`, then all files, then all directories (flatten.h), /dev/{stdin,stdout,stderr,fd} as
// docker2aci adds them where the image has none. The same image and options make the same bytes on every run. The
// last output is finished.
AciResult ConvertToAci(const VerifiedImage& image, const Blobs& blobs, const OpenOutput& open,
                       const AciOptions& options);

struct OciLayoutOptions {
  std::string ref;  // the name in the layout; empty: none
  bool overwrite = false;
  size_t threads = 1;
  Progress* progress = nullptr;
};

// Adds the image to the layout at `directory` (transport/oci_layout.h) and returns its manifest's descriptor. An OCI
// image keeps its bytes and digests; a Docker image gets an OCI manifest over the same configuration and layers.
Descriptor ConvertToOciLayout(const VerifiedImage& image, const Blobs& blobs, const std::string& directory,
                              const OciLayoutOptions& options);

// The OCI manifest for an image: its own bytes, or what stands for a Docker manifest.
std::string OciManifestBytes(const Image& image);

}  // namespace gantry::image
