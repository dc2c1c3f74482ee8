// Packs what init is told (protocol.h) into a sealed memfd.
#pragma once

#include <string>

#include "libimage/base/fd.h"
#include "runner/config.h"
#include "runner/user.h"

namespace gantry::runner {

// HOME and HOSTNAME are added where the configuration does not set them. `keep_groups`: setgroups is not to be called.
UniqueFd MakeInitParams(const RunConfig& config, const Credentials& who, const std::string& hostname, bool keep_groups);

// File names to try for `program`: itself when it has a slash, else below each element of PATH in `env`.
std::vector<std::string> ExecutableCandidates(const std::string& program, const std::vector<std::string>& env);

}  // namespace gantry::runner
