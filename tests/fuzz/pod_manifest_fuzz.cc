#include "runner/config_json.h"
#include "runner/pod_manifest.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;

// Whatever is accepted makes a plan or is refused; and what was planned is read again as it was written.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gantry::runner::PodManifest pod;
  if (!Accepts([&] { pod = gantry::runner::PodManifest::Parse(gantry::fuzz::Text(data, size), "pod manifest"); }))
    return 0;
  const auto& apps = pod.apps;
  Require(!apps.empty() && apps.size() <= gantry::runner::kMaxApps);
  for (const auto& app : apps) {
    Accepts([&] {
      const auto config = gantry::runner::Plan({.cmd = {"x"}}, app.run);
      for (const auto& volume : config.volumes) Require(volume.target.size() > 1 && volume.target.front() == '/');
      Require((config.capabilities & ~gantry::runner::kDefaultCapabilities) == 0);
      const gantry::json::Value printed(gantry::runner::PrintConfig(config));
      const auto again = gantry::runner::ParseConfig(gantry::json::Cursor(printed, "config"));
      Require(gantry::json::Value(gantry::runner::PrintConfig(again)) == printed);
    });
  }
  return 0;
}
