// Mounts that show files under other owners than they have.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "runner/userns.h"

namespace gantry::runner {

// What is at `path`, and with `recursive` all that is mounted below it, as a mount that is attached nowhere. A slave of
// the original, so that nothing done to it shows in the host.
UniqueFd OpenTree(const std::string& path, bool recursive, bool no_follow);

// Files of `tree` that have an id of a range's inside side, of these or of a user namespace, are shown with that of its
// outside. kUnsupported for a file system that cannot.
void MapIds(int tree, const UniqueFd& user_namespace, bool recursive);
void MapIds(int tree, const std::vector<IdRange>& uids, const std::vector<IdRange>& gids, bool recursive);

}  // namespace gantry::runner
