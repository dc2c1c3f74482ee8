#include <string>
#include <vector>

#include "libimage/layer/archive.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

namespace {

using namespace gantry::image;

constexpr uint64_t kMaxOutput = uint64_t{4} << 20;

// The input in two blocks, so that headers of all kinds straddle their boundary.
class TwoBlocks : public gantry::Source {
 public:
  explicit TwoBlocks(std::string_view text) : text_(text) {}
  gantry::Block Next() override {
    const size_t n = at_ == 0 ? text_.size() / 3 + 1 : text_.size();
    const std::string_view piece = text_.substr(std::min(at_, text_.size()), n);
    at_ += piece.size();
    return {nullptr, gantry::AsBytes(piece)};
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// What an accepted name may be: a path that no part of can climb.
void CheckName(const Entry& entry) {
  LayerEntry layer_entry;
  if (Accepts([&] { layer_entry = Classify(entry); }) && layer_entry.path)
    Require(gantry::RelPath::Parse(layer_entry.path->str()) == *layer_entry.path);
  if (entry.type == EntryType::kHardLink)
    Accepts([&] { HardLinkTarget(entry.link); });
}

// Written and read again, an entry is the same.
void CheckRoundTrip(Entry entry) {
  if (entry.mtime.seconds < 0)
    entry.mtime = {};  // libarchive reads fractions before 1970 towards zero
  entry.size = 0;
  std::string tar;
  const auto sink = gantry::StringSink(tar);
  ArchiveWriter writer(*sink);
  if (!Accepts([&] { writer.Add(entry); }))
    return;
  writer.Finish();
  ArchiveReader reader(gantry::StringSource(tar), "written");
  Entry again;
  Require(reader.Next(again));
  if (entry.type == EntryType::kDirectory && !entry.name.ends_with('/'))
    entry.name += '/';
  Require(again == entry);
  Require(!reader.Next(again));
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const InflateLimits limits{.max_bytes = kMaxOutput, .max_window = uint64_t{8} << 20};
  Accepts([&] {
    ArchiveReader reader(DecompressAny(std::make_unique<TwoBlocks>(gantry::fuzz::Text(data, size)), "input", limits),
                         "input");
    Entry entry;
    while (reader.Next(entry)) {
      Require(entry.name.size() <= kMaxEntryNameBytes && entry.xattrs.size() <= kMaxXattrs);
      CheckName(entry);
      CheckRoundTrip(entry);
      uint64_t offset = 0, end = 0;
      std::span<const std::byte> bytes;
      while (reader.ReadPiece(offset, bytes)) {
        Require(offset >= end && bytes.size() <= entry.size - offset);
        end = offset + bytes.size();
      }
    }
  });
  return 0;
}
