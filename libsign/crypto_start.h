// What OpenSSL does at its first use takes more than a millisecond: for those who have other work until they need it.
#pragma once

#include <thread>

namespace gantry::sign {

// Does it in a thread of its own.
std::jthread StartCrypto();

}  // namespace gantry::sign
