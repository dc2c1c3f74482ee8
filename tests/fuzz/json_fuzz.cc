#include "libimage/base/json.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace json = gantry::json;
  json::Value value;
  if (!Accepts([&] { value = json::Parse(gantry::fuzz::Text(data, size), "input"); }))
    return 0;
  const std::string printed = json::Print(value);
  Require(json::Parse(printed, "printed") == value);
  Require(json::Parse(json::PrintPretty(value), "pretty") == value);
  std::string canonical;
  // Refused for floating-point numbers.
  if (Accepts([&] { canonical = json::PrintCanonical(value); }))
    Require(json::PrintCanonical(json::Parse(canonical, "canonical")) == canonical);
  return 0;
}
