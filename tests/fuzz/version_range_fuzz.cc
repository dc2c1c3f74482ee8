#include "libimage/model/version_range.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::image::Version;
using gantry::image::VersionRange;

// A first line is a range, the rest a version. Order is an order, and no range has a pre-release without asking for
// one.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = gantry::fuzz::Text(data, size);
  const size_t end = text.find('\n');
  const auto version = Version::Parse(end == std::string_view::npos ? text : text.substr(end + 1));
  if (version) {
    const Version other{version->major, version->minor, version->patch};
    Require(*version <= other && *version == *version && !(*version < *version));
  }
  Accepts([&] {
    const VersionRange range = VersionRange::Parse(text.substr(0, end));
    if (version && range.Contains(*version) && !version->pre.empty())
      Require(text.substr(0, end).find('-') != std::string_view::npos);
  });
  return 0;
}
