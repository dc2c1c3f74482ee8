// Layers in a directory, by digest: those of a build in progress, and those that later builds may use again.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/dir.h"
#include "libimage/model/blobs.h"
#include "libimage/model/descriptor.h"

namespace gantry::image {

class BlobDirectory : public Blobs {
 public:
  explicit BlobDirectory(Dir dir) : dir_(std::make_shared<const Dir>(std::move(dir))) {}

  const std::string& name() const { return dir_->name(); }
  bool Has(const Digest& digest) const;
  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;

  // A file to be filled, then named; what is there already is kept.
  std::unique_ptr<StagedFile> New() const { return std::make_unique<StagedFile>(*dir_); }
  void Commit(StagedFile& file, const Digest& digest) const;

 private:
  std::shared_ptr<const Dir> dir_;
};

// Several places as one: the first that has a blob.
class JoinedBlobs : public Blobs {
 public:
  explicit JoinedBlobs(std::vector<std::shared_ptr<const Blobs>> places) : places_(std::move(places)) {}
  std::unique_ptr<Source> Open(const Descriptor& blob, std::string_view what) const override;

 private:
  std::vector<std::shared_ptr<const Blobs>> places_;
};

}  // namespace gantry::image
