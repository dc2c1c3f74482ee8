#include "libimage/base/json.h"
#include "libimage/model/config.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gantry::image::ImageConfig;
  const std::string_view text = gantry::fuzz::Text(data, size);
  ImageConfig config;
  if (!Accepts([&] { config = ImageConfig::Parse(text); }))
    return 0;
  // A configuration is never printed; the document that it came from, printed anew, means the same.
  Require(ImageConfig::Parse(gantry::json::Print(gantry::json::Parse(text, "input"))) == config);
  return 0;
}
