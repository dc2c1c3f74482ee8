// Sockets with a name in a directory of ours, however long its path is: sockaddr_un has room for 107 bytes.
#pragma once

#include <string>

#include "libimage/base/dir.h"
#include "libimage/base/fd.h"

namespace gantry::runner {

// One that has the name, in place of what had it before. `type` is SOCK_..., with flags.
UniqueFd BindIn(const Dir& dir, const std::string& name, int type);

// One that listens, in place of what had the name. `type` is SOCK_..., with flags.
UniqueFd ListenIn(const Dir& dir, const std::string& name, int type);

// One that is connected; none when nobody listens.
UniqueFd ConnectIn(const Dir& dir, const std::string& name, int type);

}  // namespace gantry::runner
