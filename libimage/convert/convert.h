// Images into other formats, in one streaming pass: trust goes in with the VerifiedImage, and the bytes that come out
// are what it vouches for, encoded anew. Nothing is unpacked and nothing is kept in memory but the index of paths.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/progress.h"
#include "libimage/base/stream.h"
#include "libimage/convert/docker_to_appc.h"
#include "libimage/layer/flatten.h"
#include "libimage/layer/identity.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"
#include "libimage/model/image_sink.h"
#include "libimage/model/media_type.h"

namespace gantry::image {

// Told the identity of an image where its tree passes anyway. Where it is empty nothing is computed: to hash the
// content of every file takes time, too.
using OnIdentity = std::function<void(const Identity&)>;

struct AciOptions {
  AciNaming naming;
  Compression compression = Compression::kGzip;  // or kNone
  int level = 0;                                 // layer/compression.h
  size_t threads = 1;                            // the output does not depend on it
  int64_t epoch = 0;                             // mtime of what the image does not date: the manifest, /dev links
  Progress* progress = nullptr;                  // borrowed; null says nothing
  std::optional<Digest> rootfs;                  // of the image (gantry-identity(5)), where it is known already
  OnIdentity identified;
  std::function<AciManifest(AciManifest)> complete;  // adds what only an ACI can say; may be empty
};

struct AciResult {
  Digest image_id;         // SHA-512 of the uncompressed tar
  uint64_t tar_bytes = 0;  // of that
  uint64_t bytes = 0;      // of the file, compressed
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

struct CopyOptions {
  std::optional<Compression> compression;      // of the layers: kNone, kGzip or kZstd; nullopt leaves each as it is
  int level = 0;                               // of what is recompressed (layer/compression.h)
  std::optional<std::string> manifest_type;    // kOciManifestType or kDockerManifestType; nullopt leaves it
  bool preserve_digests = false;               // kUnsupported rather than another manifest
  size_t threads = 1;                          // the output does not depend on it
  Progress* progress = nullptr;                // borrowed; null says nothing
  std::function<void(std::string_view)> note;  // told what the format cannot hold and is dropped; may be empty
  std::optional<Digest> rootfs;                // of the image (gantry-identity(5)), where it is known already
  OnIdentity identified;                       // told by Squash, and by Copy where rootfs is known
};

// Images into all that an ImageSink writes. Together with sign::Verifier the only maker of VerifiedImages: what it
// makes out of one is trusted as that was.
class Conversion {
 public:
  // Adds the blobs and the manifest of the image to `sink`, which is left to be told a Name and to Commit. A layer that
  // is compressed as wanted already is copied, whatever its level; another is recompressed, and its diff ID checked.
  // The form of the sink is kept to; kUnsupported when the options contradict it, or when a Docker manifest would have
  // to hold zstd. The configuration keeps its bytes, and so does the manifest where nothing in it has to change. The
  // blobs of foreign layers may be missing, unless they are to be recompressed.
  static VerifiedImage Copy(const VerifiedImage& image, const Blobs& blobs, ImageSink& sink,
                            const CopyOptions& options);

  // As Copy, with one layer in place of all: the tree that they amount to, compressed with gzip where nothing else is
  // wanted, and a configuration that lists it alone. Its entry of history has the time `epoch`, or that of the image
  // for 0. The same image and options make the same bytes on every run. kUnsupported with preserve_digests.
  static VerifiedImage Squash(const VerifiedImage& image, const Blobs& blobs, ImageSink& sink,
                              const CopyOptions& options, int64_t epoch);

 private:
  static VerifiedImage Carry(const VerifiedImage& source, Image made);
};

}  // namespace gantry::image
