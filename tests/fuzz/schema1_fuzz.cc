#include <optional>

#include "libimage/model/media_type.h"
#include "libimage/model/schema1.h"
#include "tests/fuzz/fuzz.h"

using gantry::Digest;
using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::image::Descriptor;
using gantry::image::Schema1;

// What is a manifest of schema 1 is one without its signatures too, and what it becomes is an image that reads.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, size);
  gantry::image::IsSchema1(text, "");
  std::optional<Schema1> parsed;
  if (!Accepts([&] { parsed = Schema1::Parse(text); }))
    return 0;
  Require(Schema1::Parse(parsed->payload()).Blobs() == parsed->Blobs());
  std::vector<Descriptor> layers;
  std::vector<Digest> diff_ids;
  for (const Digest& blob : parsed->Blobs()) {
    layers.push_back({.media_type = std::string(gantry::image::kDockerLayerGzipType), .digest = blob, .size = 1});
    diff_ids.push_back(blob);
  }
  Accepts([&] {
    const auto image = parsed->ToImage(layers, diff_ids);
    Require(image.manifest.layers == layers && image.config.diff_ids == diff_ids);
  });
  return 0;
}
