// Descriptors that a forked process has from its parent.
#pragma once

#include <span>

namespace gantry {

// Closes every one from 3 up but these, among which may be some below 3, and -1. Sorts them, and neither allocates nor
// frees.
void CloseAllBut(std::span<int> keep);

}  // namespace gantry
