#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/convert/convert.h"
#include "libimage/convert/fan_out.h"
#include "libimage/convert/identified.h"
#include "libimage/convert/layers_ahead.h"
#include "libimage/convert/progress_blobs.h"
#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"
#include "libimage/layer/listing.h"
#include "libimage/transport/aci_file.h"

namespace gantry::image {
namespace {

class HashingSink : public Sink {
 public:
  void Write(std::span<const std::byte> bytes) override { hasher_.Update(bytes); }
  void Finish() override {}
  Digest Digested() { return hasher_.Finish(); }

 private:
  Hasher hasher_{HashAlgorithm::kSha512};
};

std::vector<Entry> DeviceLinks(Time mtime) {
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

// The way from the tar writer to the file.
class Output {
 public:
  Output(const OpenOutput& open, const AciOptions& options) : file_(open()) {
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

  Sink& tar() { return *tar_; }
  void Finish(AciResult& result) {
    tar_->Finish();
    result.image_id = hash_.Digested();
    result.bytes = bytes_;
  }

 private:
  std::unique_ptr<Sink> file_, counted_, compressed_;
  HashingSink hash_;
  uint64_t bytes_ = 0;
  std::unique_ptr<Sink> tar_;  // last: its threads use the others
};

}  // namespace

AciResult ConvertToAci(const VerifiedImage& verified, const Blobs& blobs, const OpenOutput& open,
                       const AciOptions& options) {
  const Image& image = verified.image();
  if (options.compression != Compression::kGzip && options.compression != Compression::kNone)
    throw Error(ErrorKind::kUnsupported, "an ACI is compressed with gzip or not at all");
  const std::string manifest = ToAciManifest(image, options.naming).ToJson();
  AciManifest::Parse(manifest);  // what we write we would read
  const Time mtime{options.epoch, 0};
  const ProgressBlobs watched(blobs, image, options.progress, "convert");
  LayersAhead layers(watched, image, options.threads > 1);
  Flattener flattener(image.manifest.layers.size(), [&](size_t layer) { return layers.Open(layer); },
                      {.defaults = DeviceLinks(mtime), .undated = mtime, .what = Quoted(options.naming.name)});
  AciResult result{Digest::Of(""), 0, {}};
  for (bool done = false; !done;) {
    Output output(open, options);
    AciWriter writer(output.tar(), mtime);
    writer.AddManifest(manifest);
    done = RunIdentified(flattener, writer, image.config, options.identified);
    if (!done)
      continue;
    writer.Finish();
    output.Finish(result);
  }
  result.flattened = flattener.result();
  watched.End();
  return result;
}

}  // namespace gantry::image
