// The children that have the network, for programs that have none themselves.
#pragma once

#include <string>
#include <vector>

#include "libimage/model/reference.h"
#include "libimage/transport/fetcher.h"
#include "libimage/transport/pusher.h"
#include "tools/policy_options.h"

namespace gantry::tools {

// The flags of a gantry-push that is a child of this program; and that child, which puts what it is told to put into
// the repository of `name`.
std::vector<std::string> PushArguments(const PolicyOptions& policy, const CommonOptions& common);
image::Pusher StartPush(const image::DockerReference& name, const std::vector<std::string>& arguments);

// The other way round: a gantry-fetch that is a child, and offers what the repository has. `arguments` name its store.
image::Fetcher StartFetch(const image::DockerReference& name, const image::Platform& platform,
                          const std::vector<std::string>& arguments);

}  // namespace gantry::tools
