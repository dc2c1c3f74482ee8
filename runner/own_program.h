// The program that this process executes, protected from who may look into its processes (CVE-2019-5736).
#pragma once

namespace gantry::runner {

// For root, before it makes a process of its own where others may trace it: executes the program anew, with
// the same arguments, environment and descriptors, from a mount that nothing can be written through. Returns where it
// runs from such a one already.
void RunFromReadOnlyMount();

}  // namespace gantry::runner
