// The identity of an image: what it executes and its tree, whatever it is packed in (gantry-identity(5)).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "libimage/base/digest.h"
#include "libimage/layer/flatten.h"
#include "libimage/layer/listing.h"
#include "libimage/model/blobs.h"
#include "libimage/model/image.h"

namespace gantry::image {

struct Identity {
  std::string document;  // RFC 8785 form of what the identity covers
  Digest digest;         // SHA-256 of it
  Digest rootfs;         // RootfsDigest of the tree, which the document names

  // kCorrupt for a configuration that says something impossible (model/execution.h) or holds text that is not UTF-8.
  static Identity Of(const ImageConfig& config, const Digest& rootfs);

  // By one pass over the layers of the image, which checks their diff IDs.
  static Identity Compute(const Image& image, const Blobs& blobs);
};

// Hands a tree on and finds its identity on the way.
class IdentifyingSink : public EntrySink {
 public:
  explicit IdentifyingSink(EntrySink& into) : into_(into) {}  // borrowed

  void Add(const Entry& entry) override;
  void Write(std::span<const std::byte> bytes) override;
  void WriteZeros(uint64_t count) override;

  // After the last entry; once. Errors are those of Listing::Finish and of Identity::Of.
  Identity Identify(const ImageConfig& config);

 private:
  EntrySink& into_;
  Listing listing_;
};

}  // namespace gantry::image
