// The init program (init.cc), carried in this binary.
#pragma once

#include <cstddef>
#include <span>

#include "libimage/base/fd.h"

namespace gantry::runner {

std::span<const std::byte> InitProgram();

// A memfd with the program, sealed against every change, to be executed by execveat.
UniqueFd SealedInit();

}  // namespace gantry::runner
