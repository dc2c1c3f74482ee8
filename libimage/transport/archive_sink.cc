#include "libimage/transport/archive_sink.h"

#include <optional>
#include <utility>

namespace gantry::image {

// A member whose name, made of its digest, comes out at its end. What is there already is not kept twice.
class ArchiveSink::Made : public NewBlob {
 public:
  explicit Made(ArchiveSink& sink) : sink_(sink), member_(sink.tar_) {}

  void Write(std::span<const std::byte> bytes) override {
    member_.Write(bytes);
    hasher_.Update(bytes);
    size_ += bytes.size();
  }
  void Finish() override {
    digest_ = hasher_.Finish();
    RequireExpected(*digest_);
    if (sink_.there_.insert(*digest_).second)
      member_.Finish(sink_.MemberFor(*digest_, {}));
  }
  Digest digest() const override { return digest_.value(); }
  uint64_t size() const override { return size_; }

 private:
  ArchiveSink& sink_;
  TarFileWriter::Unnamed member_;
  Hasher hasher_;
  uint64_t size_ = 0;
  std::optional<Digest> digest_;
};

void ArchiveSink::AddBlob(const Descriptor& blob, std::unique_ptr<Source> from, std::string_view what) {
  if (Has(blob.digest))
    return;
  const auto checked = VerifyingSource(std::move(from), blob.digest, blob.size, std::string(what));
  tar_.AddFile(MemberFor(blob.digest, blob.media_type), blob.size, *checked);
  there_.insert(blob.digest);
}

std::unique_ptr<NewBlob> ArchiveSink::MakeBlob(std::string_view) { return std::make_unique<Made>(*this); }

void ArchiveSink::Close() {
  tar_.Finish();
  file_.Commit();
}

}  // namespace gantry::image
