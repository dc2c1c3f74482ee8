// Names of files as people write them.
#pragma once

#include <string>

namespace gantry {

// Where the file lies: "a/b" of "a/b/web.tar", "/" of "/web.tar", "." of "web.tar".
std::string DirectoryOf(const std::string& path);

}  // namespace gantry
