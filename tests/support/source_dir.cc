#include "tests/support/source_dir.h"

namespace gantry::testing {

std::string SourceDir() { return GANTRY_SOURCE_DIR; }

}  // namespace gantry::testing
