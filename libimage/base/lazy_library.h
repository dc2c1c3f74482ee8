// Shared libraries that are loaded when a program first calls into them: to map and relocate those that it never comes
// to use would be half of a short start. lazy_calls.cc has what stands for their functions.
//
// A library comes from the root that the program was started in, or not at all: what has entered a container's would
// execute what the container has put there (CVE-2019-14271).
#pragma once

#include <span>

namespace gantry {

struct LazyLibrary {
  const char* name;  // as the dynamic linker knows it
  std::span<const char* const> functions;
  std::span<void*> addresses;  // of these, in memory that is read-only but for the moment in which they are found
};

}  // namespace gantry

// Fills the table. Ends the process with 127, as the dynamic linker does, and a message, when the library cannot be
// loaded or has not all of them.
extern "C" void GantryLoadLibrary(const gantry::LazyLibrary& library);
