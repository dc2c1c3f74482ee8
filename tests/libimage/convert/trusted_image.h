// Images that are trusted because a test says so, and their blobs in memory.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/digest.h"
#include "libimage/model/blobs.h"
#include "libsign/verify.h"
#include "tests/support/image_builder.h"

namespace gantry::testing {

inline image::VerifiedImage Trusted(image::Image image) {
  return sign::Verifier::Verify(image::FetchedImage(std::move(image), std::nullopt),
                                sign::Policy::AcceptAnything("a test"), {});
}

inline image::VerifiedImage Trusted(const ImageBuilder& builder) { return Trusted(builder.Build()); }

class MemoryBlobs : public image::Blobs {
 public:
  MemoryBlobs() = default;
  explicit MemoryBlobs(const ImageBuilder& builder) {
    for (const auto& [digest, bytes] : builder.Blobs()) blobs_.emplace(digest, bytes);
  }
  std::unique_ptr<Source> Open(const image::Descriptor& blob, std::string_view what) const override {
    const auto found = blobs_.find(blob.digest);
    if (found == blobs_.end())
      throw Error(ErrorKind::kNotFound, std::string(what) + " is not in memory");
    return VerifyingSource(StringSource(found->second), blob.digest, blob.size, std::string(what));
  }
  void Put(const std::string& bytes) { blobs_.emplace(Digest::Of(bytes), bytes); }
  void Remove(const Digest& digest) { blobs_.erase(digest); }
  void Damage(const Digest& digest) { blobs_.at(digest).back() ^= 1; }
  const std::string& Get(const Digest& digest) const { return blobs_.at(digest); }
  size_t size() const { return blobs_.size(); }

 private:
  std::map<Digest, std::string> blobs_;
};

}  // namespace gantry::testing
