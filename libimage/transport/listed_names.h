// What there is, in the hint of an error that something else is not there.
#pragma once

#include <string>
#include <vector>

namespace gantry::image {

// "'a', 'b' and 3 more": at most ten of them.
std::string ListedNames(const std::vector<std::string>& names);

}  // namespace gantry::image
