// The loopback device of a network namespace.
#pragma once

namespace gantry::runner {

// Starts the one of the calling thread's. False and errno when it could not. Allocates nothing.
bool StartLoopback();

}  // namespace gantry::runner
