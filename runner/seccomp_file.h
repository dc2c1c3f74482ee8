// Seccomp profiles as people have them in files: the form of linux.seccomp (runtime-spec), and the one of Docker and
// podman, whose rules may depend on capabilities, architectures and the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runner/spec_seccomp.h"

namespace gantry::runner {

// The profile with those rules that hold for a container with `capabilities` on this machine. kCorrupt, also for
// conditions that are not known; kUnsupported when it asks an agent. `what` names it in errors.
SpecSeccomp ReadSeccompProfile(std::string_view text, const std::string& what, uint64_t capabilities);

}  // namespace gantry::runner
