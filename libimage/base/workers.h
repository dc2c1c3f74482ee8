// Independent jobs over a few threads.
#pragma once

#include <cstddef>
#include <functional>

namespace gantry {

// The number of processors this process may use (its affinity mask), at least 1.
size_t ProcessorCount();

// Runs job(0) .. job(count - 1) on up to `threads` threads, the caller's being one, starting them in that order.
// After the first exception no further job starts; it is rethrown once all running ones have ended.
void RunParallel(size_t count, size_t threads, const std::function<void(size_t)>& job);

}  // namespace gantry
