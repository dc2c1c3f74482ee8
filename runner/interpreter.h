// Who is missing when execve says ENOENT for a file that exists: the program behind "#!" or the dynamic loader.
// C++ without the library, as init.cc: no exceptions, no allocation.
#pragma once

#include <stddef.h>

namespace gantry::runner {

// Fills `name` from the first bytes of the file at `path`, or leaves it as it is. `capacity` is at least 4.
void FindInterpreter(const char* path, char* name, size_t capacity);

}  // namespace gantry::runner
