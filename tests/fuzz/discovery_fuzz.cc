#include "libimage/base/error.h"
#include "libimage/transport/discovery.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Require;

// A page. Of every tag that counts an address is made, as a fetch does it.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::image;
  static const AppcReference kWanted{"example.com/app", {{"version", "1.0"}, {"os", "linux"}, {"arch", "amd64"}}};
  try {
    const DiscoveryPage page = DiscoveryPage::Parse(gantry::fuzz::Text(data, size));
    Require(page.images.size() + page.keys.size() <= kMaxDiscoveryTags);
    for (const DiscoveryTag& tag : page.images) {
      Require(IsAcIdentifier(tag.prefix) && tag.IsFor(tag.prefix) && !tag.IsFor(tag.prefix + "x"));
      if (const auto address = Render(tag.value, kWanted, "aci"))
        Require(address->size() <= size_t{16} * 1024 + tag.value.size());
    }
  } catch (const gantry::Error& error) {
    Require(error.kind() == gantry::ErrorKind::kCorrupt);
  }
  return 0;
}
