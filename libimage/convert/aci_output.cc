#include "libimage/convert/aci_output.h"

#include <string>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/convert/fan_out.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/listing.h"

namespace gantry::image {

std::vector<Entry> AppcLinks(Time mtime) {
  std::vector<Entry> links;
  for (const auto& [name, target] : kAppcLinks) {
    Entry link;
    link.name = name;
    link.type = EntryType::kSymlink;
    link.mode = 0777;
    link.link = target;
    link.mtime = mtime;
    links.push_back(std::move(link));
  }
  return links;
}

AciOutput::AciOutput(std::unique_ptr<Sink> file, const AciOptions& options) : file_(std::move(file)) {
  if (options.compression != Compression::kGzip && options.compression != Compression::kNone)
    throw Error(ErrorKind::kUnsupported, "an ACI is compressed with gzip or not at all");
  counted_ = TapSink(*file_, [this](std::span<const std::byte> bytes) { bytes_ += bytes.size(); });
  Sink* packed = counted_.get();
  if (options.compression != Compression::kNone) {
    compressed_ =
        Compress(*counted_, {.compression = options.compression, .level = options.level, .threads = options.threads});
    packed = compressed_.get();
  }
  const std::vector<Sink*> both{&hash_, packed};
  tar_ = options.threads > 1 ? FanOut(both) : FanOutHere(both);
}

void AciOutput::Finish(AciResult& result) {
  tar_->Finish();
  result.image_id = hash_.Digested();
  result.tar_bytes = hash_.bytes();
  result.bytes = bytes_;
}

}  // namespace gantry::image
