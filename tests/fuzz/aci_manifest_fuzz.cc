#include "libimage/model/aci_manifest.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::image;
  const std::string_view text = gantry::fuzz::Text(data, size);
  AciManifest manifest;
  if (Accepts([&] { manifest = AciManifest::Parse(text); })) {
    const std::string printed = manifest.ToJson();
    Require(AciManifest::Parse(printed).ToJson() == printed);
  }
  std::string name;
  if (Accepts([&] { name = ToAcIdentifier(text); }))
    Require(IsAcIdentifier(name) && ToAcIdentifier(name) == name);
  if (Accepts([&] { name = ToAcName(text); }))
    Require(IsAcName(name) && ToAcName(name) == name);
  return 0;
}
