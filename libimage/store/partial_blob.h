// A large blob on its way in that survives its process: what has come of it waits in tmp/partial-ALGORITHM-HEX until
// somebody goes on with it, or until it is old and a collection removes it. On a disk that is full it goes at once.
// Private to store/.
#pragma once

#include <memory>

#include "libimage/base/digest.h"
#include "libimage/base/dir.h"
#include "libimage/base/write_back.h"
#include "libimage/store/leases.h"
#include "libimage/store/store.h"

namespace gantry::image {

RelPath PathOfPartialBlob(const Digest& digest);

// nullptr when another process is at it. `session` is the lease that covers the blob; gc.lock is held.
std::unique_ptr<IncomingBlob> OpenPartialBlob(std::shared_ptr<const Dir> root, std::shared_ptr<LeaseFile> session,
                                              const Digest& digest, uint64_t size, WriteBack::Pace pace);

}  // namespace gantry::image
