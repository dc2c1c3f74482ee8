#include "libimage/build/script.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Accepts([&] {
    for (const auto& command : gantry::image::ParseScript(gantry::fuzz::Text(data, size)))
      Require(!command.words.empty() && command.line > 0);
  });
  return 0;
}
