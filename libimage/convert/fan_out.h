// One stream of bytes into several sinks, each driven by a thread of its own.
#pragma once

#include <memory>
#include <vector>

#include "libimage/base/stream.h"

namespace gantry::image {

// Forwards every byte to all of the borrowed sinks, at most a few blocks ahead of the slowest. What a sink throws comes
// out of a later Write or of Finish, which finishes all of them and waits. Destroyed without Finish, the sinks are not
// finished, and their threads have ended.
std::unique_ptr<Sink> FanOut(const std::vector<Sink*>& into);

// The same on the caller's thread.
std::unique_ptr<Sink> FanOutHere(std::vector<Sink*> into);

}  // namespace gantry::image
