#include "libimage/base/yaml.h"
#include "tests/fuzz/fuzz.h"

// What is YAML becomes a value that prints as JSON and is read again as the same.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gantry::json::Value value;
  if (!gantry::fuzz::Accepts([&] { value = gantry::ParseYaml(gantry::fuzz::Text(data, size), "fuzz"); }))
    return 0;
  gantry::fuzz::Accepts([&] {
    const gantry::json::Value again =
        gantry::json::Parse(gantry::json::Print(value), "again", 2 * gantry::json::kMaxDepth);
    gantry::fuzz::Require(again == value);
  });
  return 0;
}
