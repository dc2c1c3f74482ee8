#include "libimage/build/blob_directory.h"

#include <fcntl.h>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"

namespace gantry::image {
namespace {

RelPath NameOf(const Digest& digest) {
  return RelPath::Parse(std::string(Name(digest.algorithm())) + "-" + digest.hex());
}

}  // namespace

bool BlobDirectory::Has(const Digest& digest) const { return dir_->Exists(NameOf(digest)); }

std::unique_ptr<Source> BlobDirectory::Open(const Descriptor& blob, std::string_view what) const {
  auto fd = dir_->TryOpenBeneath(NameOf(blob.digest), O_RDONLY);
  if (!fd) {
    throw Error(ErrorKind::kNotFound,
                std::string(what) + ": blob " + blob.digest.str() + " is not in " + Quoted(dir_->name()));
  }
  return VerifyingSource(FdSource(std::move(*fd), std::string(what)), blob.digest, blob.size, std::string(what));
}

void BlobDirectory::Commit(StagedFile& file, const Digest& digest) const { file.Commit(NameOf(digest)); }

std::unique_ptr<Source> JoinedBlobs::Open(const Descriptor& blob, std::string_view what) const {
  for (size_t i = 0; i < places_.size(); ++i) {
    try {
      return places_[i]->Open(blob, what);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kNotFound || i + 1 == places_.size())
        throw;
    }
  }
  throw Error(ErrorKind::kNotFound, std::string(what) + ": blob " + blob.digest.str() + " is nowhere");
}

}  // namespace gantry::image
