// What OpenSSL does at its first use takes more than a millisecond: for those who have other work until they need it.
#pragma once

#include <thread>

namespace gantry::sign {

// Does it in a thread of its own, where there may be one. Nothing may be forked until it has ended but to execute
// another program.
std::jthread StartCrypto();

}  // namespace gantry::sign
