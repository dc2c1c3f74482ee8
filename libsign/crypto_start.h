// What OpenSSL does at its first use takes more than a millisecond: for those who have other work until they need it.
#pragma once

#include <thread>

namespace gantry::sign {

// Does it in a thread of its own, where there may be one. Nothing may be forked until it has ended but to execute
// another program.
std::jthread StartCrypto();

// For a process that does no more than to verify, before it uses OpenSSL: the texts of its errors are left out, a sixth
// of what its start takes. Errors are told by their numbers then, which openssl-errstr(1) knows.
void LeaveErrorTextsOut();

}  // namespace gantry::sign
