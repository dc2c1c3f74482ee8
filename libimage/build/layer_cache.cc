#include "libimage/build/layer_cache.h"

#include "libimage/base/error.h"
#include "libimage/base/json.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxEntryBytes = 64 * 1024;

RelPath EntryOf(const Digest& inputs) { return RelPath::Parse(inputs.hex() + ".json"); }

}  // namespace

LayerCache::LayerCache(const std::string& directory)
    : dir_(Dir::Create(directory, 0700)), blobs_(Dir::Create(RealPath(directory) + "/blobs", 0700)) {}

std::optional<LayerCache::Made> LayerCache::Find(const Digest& inputs) const {
  if (!dir_.Exists(EntryOf(inputs)))
    return std::nullopt;
  try {
    const json::Value document = json::Parse(dir_.ReadFile(EntryOf(inputs), kMaxEntryBytes), "a cached layer");
    const json::Cursor entry(document, "a cached layer");
    if (!entry.Find("blob"))
      return Made{};
    DraftLayer layer = DraftLayer::Parse(entry);
    if (!blobs_.Has(layer.blob.digest))
      return std::nullopt;
    return Made{std::move(layer)};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCorrupt)
      throw;
    return std::nullopt;
  }
}

void LayerCache::Keep(const Digest& inputs, const Made& made) const {
  const json::Object entry = made.layer ? made.layer->ToJson() : json::Object();
  dir_.WriteFileAtomically(EntryOf(inputs), json::Print(entry), 0600);
}

}  // namespace gantry::image
