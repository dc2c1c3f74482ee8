// The configuration of an app as JSON, for the record of its pod: what was planned is what is executed later, and what
// a process that enters the container is confined by.
#pragma once

#include "libimage/base/json.h"
#include "runner/config.h"

namespace gantry::runner {

json::Object PrintConfig(const RunConfig& config);

// kCorrupt for what PrintConfig does not write.
RunConfig ParseConfig(const json::Cursor& at);

}  // namespace gantry::runner
