#include "libimage/layer/outline.h"

#include <utility>

#include "libimage/base/error.h"
#include "libimage/layer/listing.h"
#include "libimage/layer/rootfs_digest.h"

namespace gantry::image {
namespace {

constexpr size_t kHashBytes = 32;
constexpr size_t kSizeBytes = sizeof(uint64_t);

std::string Packed(uint64_t size, const Digest& content) {
  std::string out;
  for (size_t i = 0; i < kSizeBytes; ++i) out += static_cast<char>(size >> (8 * i) & 0xff);
  for (const std::byte byte : content.raw()) out += static_cast<char>(byte);
  return out;
}

// Lists the tree that outlines amount to.
class OutlineReader : public EntrySink {
 public:
  explicit OutlineReader(Listing& into) : into_(into) {}

  void Add(const Entry& entry) override {
    if (entry.type != EntryType::kFile)
      return into_.Add(entry);
    file_ = entry;
    packed_.clear();
    if (entry.size != kSizeBytes + kHashBytes)
      throw Error(ErrorKind::kFailed, "the outline of a layer has " + std::to_string(entry.size) + " bytes for a file");
  }
  void Write(std::span<const std::byte> bytes) override {
    packed_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (packed_.size() < kSizeBytes + kHashBytes)
      return;
    file_.size = 0;
    for (size_t i = kSizeBytes; i-- > 0;) file_.size = file_.size << 8 | static_cast<unsigned char>(packed_[i]);
    into_.AddHashed(file_, AsBytes(packed_).subspan(kSizeBytes));
  }
  void WriteZeros(uint64_t count) override {
    const std::string zeros(count, '\0');
    Write(AsBytes(zeros));
  }

 private:
  Listing& into_;
  Entry file_;
  std::string packed_;
};

}  // namespace

void OutlineWriter::Add(const Entry& entry) {
  EndFile();
  Entry outlined = entry;
  if (outlined.name.empty())
    outlined.name = "./";
  in_file_ = entry.type == EntryType::kFile;
  size_ = entry.size;
  if (in_file_) {
    outlined.size = kSizeBytes + kHashBytes;
    content_.Restart();
  }
  archive_.Add(outlined);
}

void OutlineWriter::EndFile() {
  if (!std::exchange(in_file_, false))
    return;
  const std::string packed = Packed(size_, content_.Finish());
  archive_.Write(AsBytes(packed));
}

void OutlineWriter::Finish() {
  EndFile();
  archive_.Finish();
}

Digest RootfsOfOutlines(size_t layers, const std::function<std::unique_ptr<Source>(size_t layer)>& open) {
  Flattener flattener(layers, open, {});
  for (;;) {
    Listing listing;
    OutlineReader reader(listing);
    if (!flattener.Run(reader))
      continue;
    listing.Finish();
    return RootfsDigest(listing);
  }
}

}  // namespace gantry::image
