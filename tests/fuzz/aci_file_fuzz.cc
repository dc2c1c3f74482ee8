#include <string>

#include "libimage/layer/compression.h"
#include "libimage/layer/layer.h"
#include "libimage/transport/aci_file.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

namespace {

using namespace gantry::image;

constexpr uint64_t kMaxOutput = uint64_t{64} << 20;

std::string LayerOf(const AciFile& aci, const PathWhitelists& only) {
  return gantry::Drain(*aci.OpenLayer(only), 2 * kMaxOutput, "layer");
}

// What is written would be read, and by the rules of layers.
void CheckLayer(const std::string& layer, const PathWhitelists& only) {
  ArchiveReader reader(gantry::StringSource(layer), "layer");
  Entry entry;
  while (reader.Next(entry)) {
    const LayerEntry meant = Classify(entry);
    Require(meant.kind == LayerEntry::Kind::kPath);
    for (const auto& list : only)
      Require(list->Allows(meant.path ? meant.path->str() : "", entry.type == EntryType::kDirectory));
  }
}

void Check(std::string_view text) {
  const InflateLimits limits{.max_bytes = kMaxOutput, .max_window = uint64_t{8} << 20};
  const auto open = [&] { return DecompressAny(gantry::StringSource(std::string(text)), "input", limits); };
  const AciFile aci(open, "input");
  const std::string layer = LayerOf(aci, {});
  Require(layer.size() == aci.layer_bytes() && gantry::Digest::Of(layer) == aci.layer_digest());
  CheckLayer(layer, {});
  const PathWhitelists only{std::make_shared<const PathWhitelist>(aci.manifest().path_whitelist)};
  CheckLayer(LayerOf(aci, only), only);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Accepts([&] { Check(gantry::fuzz::Text(data, size)); });
  return 0;
}
