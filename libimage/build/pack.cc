#include "libimage/build/pack.h"

#include "libimage/base/digest.h"
#include "libimage/base/stream.h"
#include "libimage/base/write_back.h"

namespace gantry::image {

std::optional<PackedLayer> PackLayer(const TreeStack& base, const Dir& tree, int into, const PackOptions& options) {
  const Changes changes(base, tree, options.changes);
  if (changes.empty())
    return std::nullopt;
  Hasher packed, plain;
  uint64_t size = 0;
  const auto file = FileSink(into, "a new layer");
  const auto counted = TapSink(*file, [&](std::span<const std::byte> bytes) {
    packed.Update(bytes);
    size += bytes.size();
  });
  const auto compressed = Compress(*counted, options.compress);
  const auto tar = TapSink(*compressed, [&](std::span<const std::byte> bytes) { plain.Update(bytes); });
  const ChangesResult result = changes.Write(*tar);
  tar->Finish();
  return PackedLayer{{{.media_type = LayerType(kOciManifestType, options.compress.compression),
                       .digest = packed.Finish(),
                       .size = size},
                      plain.Finish()},
                     result.whiteouts != 0};
}

}  // namespace gantry::image
