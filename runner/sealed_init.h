// The init program (init.cc), carried in this binary.
#pragma once

#include "libimage/base/fd.h"

namespace gantry::runner {

// A memfd with the program, sealed against every change, to be executed by execveat.
UniqueFd SealedInit();

}  // namespace gantry::runner
