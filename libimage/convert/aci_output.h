// The way from the tar of an ACI to its file, for all that write ACIs.
#pragma once

#include <memory>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libimage/convert/convert.h"
#include "libimage/layer/archive.h"

namespace gantry::image {

// kAppcLinks as entries.
std::vector<Entry> AppcLinks(Time mtime);

class AciOutput {
 public:
  // kUnsupported for another compression than gzip and none.
  AciOutput(std::unique_ptr<Sink> file, const AciOptions& options);
  AciOutput(const AciOutput&) = delete;
  AciOutput& operator=(const AciOutput&) = delete;

  // Where the tar goes.
  Sink& tar() { return *tar_; }
  // The last call: finishes the file too, and tells ID and sizes.
  void Finish(AciResult& result);

 private:
  class HashingSink : public Sink {
   public:
    void Write(std::span<const std::byte> bytes) override {
      hasher_.Update(bytes);
      bytes_ += bytes.size();
    }
    void Finish() override {}
    Digest Digested() { return hasher_.Finish(); }
    uint64_t bytes() const { return bytes_; }

   private:
    Hasher hasher_{HashAlgorithm::kSha512};
    uint64_t bytes_ = 0;
  };

  std::unique_ptr<Sink> file_, counted_, compressed_;
  HashingSink hash_;
  uint64_t bytes_ = 0;
  std::unique_ptr<Sink> tar_;  // last: its threads use the others
};

}  // namespace gantry::image
