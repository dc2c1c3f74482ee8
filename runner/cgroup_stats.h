// What a container uses, out of its control groups, in the shape that engines read from `events` (runc's).
#pragma once

#include <cstdint>

#include "libimage/base/json.h"
#include "runner/bundle_cgroup.h"

namespace gantry::runner {

// Figures that no hierarchy has are left out.
json::Object ReadStats(const BundleCgroup& cgroup);

// How many processes of the container the kernel has killed for want of memory.
uint64_t OomKills(const BundleCgroup& cgroup);

}  // namespace gantry::runner
