// Taking one tag away from a repository, and nothing else.
#pragma once

#include "libimage/transport/registry.h"

namespace gantry::image {

// Removes the tag of `name`; the manifest stays, and so do all other tags that lead to it. Returns what the tag led to.
//
// A registry that deletes tags is asked to (distribution-spec 1.1, "Deleting tags"). One that knows only manifests
// would take every tag of the manifest along, so the tag is first moved to a manifest that nothing else leads to, and
// that one is deleted. Whether the registry deletes at all is tried on it before the tag is touched: kUnsupported, and
// nothing has changed, when it does not. `registry` is for "pull,push,delete".
Digest DeleteTag(RegistryClient& registry, const DockerReference& name);

}  // namespace gantry::image
