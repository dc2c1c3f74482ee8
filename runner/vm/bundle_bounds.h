// What a bundle may ask of a virtual machine of its own, and how large that is.
#pragma once

#include "runner/spec.h"
#include "runner/vm/virtual_machine.h"

namespace gantry::runner::vm {

// kUnsupported with a list of the properties that the configuration has and a machine cannot: none is dropped.
void RequireMachineCan(const Spec& spec);

// Of linux.resources: the limit of memory, 64M at least, and the quota of processors. kUnsupported for what no machine
// can have.
MachineSize SizeOf(const Spec& spec);

}  // namespace gantry::runner::vm
