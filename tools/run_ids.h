// Which ids of the host a pod has: --userns.
#pragma once

#include <optional>
#include <vector>

#include "runner/pod_record.h"
#include "runner/userns.h"
#include "tools/run_pod.h"

namespace gantry::tools {

// The map of a user who is not root; a note when it is a poor one.
std::optional<runner::IdMap> MapOfUser(const CommonOptions& common);

// The user namespace of a new pod: as root it is the plan's, else it is of the user's own ids, which are returned.
// kUsage for what --userns does not know, kUnsupported for what it cannot be here.
std::optional<runner::IdMap> TakeIds(const PodOptions& options, runner::PodPlan& plan);

// kUnsupported when an app is to have a capability, by its name, that we cannot give. `plan` has its ids.
void RequireCapabilities(const PodOptions& options, const runner::PodPlan& plan, const std::vector<NamedApp>& apps);

}  // namespace gantry::tools
