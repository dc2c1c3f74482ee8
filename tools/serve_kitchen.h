// The process of gantry-serve that may start programs. It talks to nobody but the front: has its orders made, each by a
// child of its own, and passes signals on.
#pragma once

#include <chrono>
#include <cstddef>

#include "libimage/base/fd.h"
#include "libimage/base/process.h"
#include "tools/serve_make.h"

namespace gantry::tools {

struct KitchenLimits {
  size_t children = 64;             // more orders at once are refused
  std::chrono::seconds time{3600};  // for one order
};

// The signals that it waits for; to be blocked before the front is started, which waits for them, too.
sigset_t ServeSignals();

// Until the front ends; returns its exit code. For single-threaded callers.
int RunKitchen(const MakeOptions& options, const KitchenLimits& limits, int channel, Process& front);

}  // namespace gantry::tools
