// The root of a container whose user namespace has ids of its own, made outside of it: its layers and its upper
// directory are shown under those ids, and keep on the disk the owners that the image gives them. So pods share
// layers whatever their ids are, nothing is ever chowned, and what a pod leaves behind names no id of another.
#pragma once

#include "libimage/base/fd.h"
#include "runner/protocol.h"
#include "runner/setup.h"
#include "runner/userns.h"

namespace gantry::runner {

struct MappedRoot {
  UniqueFd tree;     // attached nowhere
  Report failure{};  // of what could not be done, where there is no tree
};

// The overlay of the plan's layers, upper and work directories, the latter two below its mount point. For
// single-threaded callers that are root. kUnsupported where the store's file system cannot show other ids.
MappedRoot MakeMappedRoot(const SetupPlan& plan, const UniqueFd& user_namespace, const IdMap& map);

}  // namespace gantry::runner
