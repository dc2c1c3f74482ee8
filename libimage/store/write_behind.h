// Writes and hashes a blob in a thread of its own, behind who brings the bytes, in blocks of kBlockBytes however small
// the pieces are that come.
#pragma once

#include <memory>

#include "libimage/store/store.h"

namespace gantry::image {

// An error of `blob` is thrown by a later Write, or by Finish. At most a few blocks wait. Destroyed without Finish, it
// writes what came, so that a part can be gone on with.
std::unique_ptr<IncomingBlob> WriteBehind(std::unique_ptr<IncomingBlob> blob);

}  // namespace gantry::image
