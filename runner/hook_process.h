// Runs one hook of a bundle: a program that gets the container's state on its standard input.
//
// Used by the runtime, by the child that sets up the container, and by the container's init: so it allocates nothing
// and throws nothing.
#pragma once

#include <cstddef>
#include <initializer_list>

namespace gantry::runner {

struct HookPlan {
  const char* path;
  char* const* arguments;    // null-terminated
  char* const* environment;  // null-terminated
  int timeout = -1;          // milliseconds; -1: as long as it takes
};

struct HookFailure {
  int error = 0;          // errno: it could not be run; ETIME: it was killed after its timeout; 0: see code
  int code = 0;           // its exit code, or 128 + the signal that killed it
  char output[160] = {};  // the beginning of what it printed; hostile
};

// The hook's own output goes nowhere but into `failure`. False when it did not end with 0.
bool RunHook(const HookPlan& hook, const char* state, size_t state_size, HookFailure& failure);

}  // namespace gantry::runner
