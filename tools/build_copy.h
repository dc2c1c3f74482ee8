// Files of this machine on their way into an image.
#pragma once

#include <string>
#include <vector>

#include "tools/build_session.h"

namespace gantry::tools {

// The verbs copy and copy-to-dir: each of `paths` but the last to the last, or with `into_directory` into that, under
// its own name: owned by root, modes and times kept. A directory is copied with all that is in it.
int CopyIn(BuildSession& session, const std::vector<std::string>& paths, bool into_directory);

// The verb begin. `base` is an image, or a path that begins with "." or "/": an ACI, a layout, or a directory with the
// files of an image, which keep their owners.
int Begin(BuildSession& session, const std::string& base, bool writes_oci);

}  // namespace gantry::tools
