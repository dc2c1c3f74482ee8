// What this runtime can do, for `features`, and a configuration to begin with, for `spec`.
#pragma once

#include "libimage/base/json.h"

namespace gantry::runner {

// runtime-spec, features.md.
json::Object Features();

// A config.json that runs sh in the directory "rootfs" with what containers have by default.
json::Object DefaultSpec(bool rootless);

}  // namespace gantry::runner
