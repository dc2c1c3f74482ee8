// What an app may use, from its configuration to the form in which control groups take it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runner/bundle_cgroup.h"
#include "runner/config.h"
#include "runner/setup.h"

namespace gantry::runner {

// Looks at the devices that are named. kUsage for one that is none; kNotFound.
SpecResources ResourcesOf(const RunConfig& config);

// The nodes of config.devices; they point into `config`.
std::vector<NodePlan> NodesOf(const RunConfig& config);

// Makes the groups `name` with the limits of `config`, ready to be joined. The default limit of processes is left out
// where there is no controller for it, and the note says so; what was asked for is refused (kUnsupported).
std::pair<BundleCgroup, std::string> MakeGroups(const RunConfig& config, const std::string& name);

}  // namespace gantry::runner
