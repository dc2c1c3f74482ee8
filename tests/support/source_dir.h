// Where the tree is that these tests were built from. Known to one object alone, so that a compiler cache serves the
// others in every clone.
#pragma once

#include <string>

namespace gantry::testing {

std::string SourceDir();

}  // namespace gantry::testing
