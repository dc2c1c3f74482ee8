// Descriptors that a forked process has from its parent.
#pragma once

#include <vector>

namespace gantry {

// Closes every one from 3 up but these, among which may be some below 3, and -1.
void CloseAllBut(std::vector<int> keep);

}  // namespace gantry
