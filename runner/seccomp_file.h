// Seccomp profiles as people have them in files: the form of linux.seccomp (runtime-spec), and the one of Docker and
// podman, whose rules may depend on capabilities, architectures and the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gantry::runner {

// The profile in the form of linux.seccomp, with those rules that hold for a container with `capabilities` on this
// machine. Checked whole: kCorrupt, or kUnsupported for conditions that are not known. `what` names it in errors.
std::string ReadSeccompProfile(std::string_view text, const std::string& what, uint64_t capabilities);

}  // namespace gantry::runner
