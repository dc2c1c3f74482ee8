// The network of a pod without root: pasta(1) (Debian's passt), a process of the user's that carries packets between
// the pod's network namespace and ordinary sockets.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/process.h"
#include "runner/net/attached_network.h"
#include "runner/net/network_request.h"

namespace gantry::runner {

// Returns when the network of `container` is there. kUnsupported without pasta. With the end of our process pasta may
// go on: whoever ends the pod ends it.
gantry::Process StartPasta(pid_t container, const NetworkRequest& request);

// pasta's arguments; `ready` is a file that it writes to once it is.
std::vector<std::string> PastaArguments(const std::string& program, pid_t container, const NetworkRequest& request,
                                        const std::string& ready);

// What pasta has set in the network namespace of `container`.
AttachedNetwork LookAtNetwork(pid_t container);

// The addresses that /proc/PID/net/fib_trie and if_inet6 tell, without loopback and link-local ones.
std::vector<std::string> AddressesOfTrie(std::string_view text);
std::vector<std::string> AddressesOfInet6(std::string_view text);

}  // namespace gantry::runner
