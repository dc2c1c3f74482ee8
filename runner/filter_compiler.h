// Compiles the rules of linux.seccomp to the program that the kernel runs at every system call.
//
// libseccomp does this in milliseconds, into a list of comparisons that the kernel walks; this takes a fraction of one,
// into a balanced search over intervals of equal answers. What it decides is what libseccomp's program decides for the
// same rules as runc hands them over (a test compares the two):
// - of a call's rules one without conditions decides, else the first whose conditions hold, else the default;
// - a name that no architecture has is passed over; a call newer than all that the rules name answers ENOSYS where the
//   default is a refusal, so that programs take their fall-back;
// - other architectures than those listed, and the native one, kill the process.
// One difference, to the stricter side: of a call that i386 also has inside socketcall or ipc, only rules without
// conditions hold there.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "runner/spec_seccomp.h"

namespace gantry::runner {

// kUnsupported for rules that make a longer program than the kernel takes (4096 steps).
std::vector<sock_filter> CompileFilter(const SpecSeccomp& rules);

}  // namespace gantry::runner
