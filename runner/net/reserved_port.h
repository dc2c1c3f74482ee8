// A port of the host that is published is nobody else's.
#pragma once

#include "libimage/base/fd.h"
#include "runner/net/network_request.h"

namespace gantry::runner {

// A socket that holds it, and listens so that it shows. kFailed when the port is in use, or is not for this user.
UniqueFd ReservePort(const PublishedPort& port);

}  // namespace gantry::runner
