// Device rules of a control group of v2, which has no file for them: a BPF program that the kernel asks at each use of
// a device node.
#pragma once

#include <linux/bpf.h>

#include <string>
#include <vector>

#include "runner/spec_resources.h"

namespace gantry::runner {

// The last rule that matches decides; without one, access is denied. An allowing rule matches when it covers all that
// is asked for, a denying one when it covers any of it.
std::vector<bpf_insn> CompileDeviceFilter(const std::vector<DeviceRule>& rules);

// Puts the program in the place of all that are attached to the group. The rules hold as long as the group lives.
// kUnsupported where the kernel does not let us.
void AttachDeviceFilter(const std::string& group, const std::vector<DeviceRule>& rules);

}  // namespace gantry::runner
