#include "libimage/layer/layer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "libimage/base/digest.h"
#include "libimage/base/error.h"
#include "libimage/layer/compression.h"
#include "libimage/model/media_type.h"

namespace gantry::image {
namespace {

constexpr size_t kBlocksAhead = 6;

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kReserved = ".wh..wh.";  // AUFS's own, of which only the opaque marker means something
constexpr std::string_view kOpaque = ".wh..wh..opq";

[[noreturn]] void Refuse(std::string_view name, std::string_view why) {
  throw Error(ErrorKind::kCorrupt, "bad name " + Quoted(name) + ": " + std::string(why),
              "no honest tool writes this; do not use the image");
}

// `raw` without what does not count; empty for the root.
std::string Normalised(std::string_view raw) {
  std::string path;
  path.reserve(raw.size());
  size_t depth = 0;
  if (raw.find('\0') != std::string_view::npos)
    Refuse(raw, "a NUL byte");
  for (size_t begin = 0; begin < raw.size();) {
    const size_t end = std::min(raw.find('/', begin), raw.size());
    const std::string_view part = raw.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".")
      continue;
    if (part == "..")
      Refuse(raw, "'..' component");
    // A whiteout may be for the longest name; its own is none that a file bears.
    if (part.size() > kMaxNameBytes + (part.starts_with(kWhiteout) ? kWhiteout.size() : 0))
      Refuse(raw, "a component of more than " + std::to_string(kMaxNameBytes) + " bytes");
    if (++depth > kMaxPathDepth)
      Refuse(raw, "more than " + std::to_string(kMaxPathDepth) + " components");
    if (!path.empty())
      path += '/';
    path += part;
  }
  if (path.size() > kMaxPathBytes)
    Refuse(raw, "more than " + std::to_string(kMaxPathBytes) + " bytes");
  return path;
}

std::optional<RelPath> PathOrRoot(std::string_view path) {
  if (path.empty())
    return std::nullopt;
  return RelPath::Parse(path);
}

// Whether a directory in `parents` is named like a whiteout; AUFS's own may be.
bool InsideWhiteout(std::string_view raw, std::string_view parents) {
  for (size_t begin = 0; begin < parents.size();) {
    const size_t end = std::min(parents.find('/', begin), parents.size());
    const std::string_view part = parents.substr(begin, end - begin);
    begin = end + 1;
    if (part.starts_with(kReserved))
      return true;
    if (part.starts_with(kWhiteout))
      Refuse(raw, "it is inside a whiteout");
  }
  return false;
}

// Reads in the reader's thread until `processor_free`, asked before each block, says that a thread more would run: from
// then on ahead of the reader. Where all processors are busy, handing blocks over gains nothing.
class LatePrefetchSource : public Source {
 public:
  LatePrefetchSource(std::unique_ptr<Source> inner, std::function<bool()> processor_free)
      : inner_(std::move(inner)), processor_free_(std::move(processor_free)) {}

  Block Next() override {
    if (processor_free_ && processor_free_()) {
      inner_ = Prefetch(std::move(inner_), kBlocksAhead);
      processor_free_ = nullptr;
    }
    return inner_->Next();
  }

 private:
  std::unique_ptr<Source> inner_;
  std::function<bool()> processor_free_;  // null once it was
};

// Ahead from the first block on that is wanted.
std::unique_ptr<Source> AheadOnceRead(std::unique_ptr<Source> inner) {
  return std::make_unique<LatePrefetchSource>(std::move(inner), [] { return true; });
}

// The tar of a layer without a look at its digest. `apart` may put a thread between the blob, which is read and hashed,
// and the inflating of it.
template <typename Apart>
std::unique_ptr<Source> Inflated(const Blobs& blobs, const Image& image, size_t index, Apart apart) {
  const Descriptor& layer = image.manifest.layers.at(index);
  const std::string what = LayerName(image, index);
  const std::optional<Compression> expected = LayerCompression(layer.media_type);
  if (!expected) {
    throw Error(ErrorKind::kUnsupported,
                what + " has media type " + Quoted(layer.media_type) + ", which is no tar layer",
                "encrypted layers and artifacts cannot be unpacked");
  }
  Compression found = Compression::kNone;
  std::unique_ptr<Source> bytes = DetectCompression(blobs.Open(layer, what), found);
  if (found != *expected) {
    throw Error(ErrorKind::kCorrupt, what + " is not what its media type " + Quoted(layer.media_type) + " says",
                "whoever made the image must build it anew");
  }
  return Decompress(apart(std::move(bytes)), found, what);
}

std::unique_ptr<Source> Checked(std::unique_ptr<Source> tar, const Image& image, size_t index) {
  return DigestCheckingSource(std::move(tar), image.config.diff_ids.at(index), LayerName(image, index));
}

}  // namespace

LayerEntry Classify(const Entry& entry) {
  const std::string path = Normalised(entry.name);
  if (path.empty()) {
    if (entry.type != EntryType::kDirectory)
      Refuse(entry.name, "the root of an image must be a directory");
    return {LayerEntry::Kind::kPath, std::nullopt};
  }
  const size_t slash = path.rfind('/');
  const std::string_view parents =
      slash == std::string::npos ? std::string_view() : std::string_view(path).substr(0, slash);
  const std::string_view name = std::string_view(path).substr(slash == std::string::npos ? 0 : slash + 1);
  if (path.find(kWhiteout) == std::string::npos)
    return {LayerEntry::Kind::kPath, RelPath::Parse(path)};
  if (InsideWhiteout(entry.name, parents))
    return {LayerEntry::Kind::kIgnored, std::nullopt};
  if (name == kOpaque)
    return {LayerEntry::Kind::kOpaque, PathOrRoot(parents)};
  if (name.starts_with(kReserved))
    return {LayerEntry::Kind::kIgnored, std::nullopt};
  if (!name.starts_with(kWhiteout))
    return {LayerEntry::Kind::kPath, RelPath::Parse(path)};
  const std::string_view gone = name.substr(kWhiteout.size());
  if (gone.empty() || gone == "." || gone == "..")
    Refuse(entry.name, "a whiteout of nothing");
  std::string target(parents);
  if (!target.empty())
    target += '/';
  return {LayerEntry::Kind::kWhiteout, RelPath::Parse(target.append(gone))};
}

RelPath HardLinkTarget(std::string_view link) {
  const std::string path = Normalised(link);
  if (path.empty())
    Refuse(link, "a hard link to the root directory");
  return RelPath::Parse(path);
}

std::pair<std::string_view, std::string_view> SplitPath(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos)
    return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

std::string LayerName(const Image& image, size_t index) {
  return "layer " + std::to_string(index + 1) + " of " + std::to_string(image.manifest.layers.size()) + " (" +
         image.manifest.layers.at(index).digest.str().substr(0, 19) + ")";
}

std::unique_ptr<Source> OpenLayer(const Blobs& blobs, const Image& image, size_t index, bool ahead) {
  std::unique_ptr<Source> tar = Checked(OpenUncheckedLayer(blobs, image, index, ahead), image, index);
  if (!ahead)
    return tar;
  return AheadOnceRead(std::move(tar));
}

std::unique_ptr<Source> OpenUncheckedLayer(const Blobs& blobs, const Image& image, size_t index, bool ahead) {
  const auto apart = [&](std::unique_ptr<Source> from) {
    return ahead ? Prefetch(std::move(from), kBlocksAhead) : std::move(from);
  };
  std::unique_ptr<Source> tar = Inflated(blobs, image, index, apart);
  if (!ahead)
    return tar;
  return AheadOnceRead(std::move(tar));
}

std::unique_ptr<Source> OpenLayerAmong(const Blobs& blobs, const Image& image, size_t index,
                                       const std::function<bool()>& processor_free) {
  const auto apart = [&](std::unique_ptr<Source> from) {
    return std::make_unique<LatePrefetchSource>(std::move(from), processor_free);
  };
  return apart(Checked(apart(Inflated(blobs, image, index, apart)), image, index));
}

}  // namespace gantry::image
