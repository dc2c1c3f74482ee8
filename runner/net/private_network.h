// The private network of pods that run as root: a bridge of the host, a pair of ethernet devices for each pod, and a
// table of nftables of our own, "gantry0" all of them, which hides the pods behind the host's address and gives them
// the ports that are published.
//
// The table follows from the leases alone (leases.h) and is written whole, in one transaction, when they change in what
// it says, or when somebody has flushed it. The last pod takes bridge and table with it.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "runner/net/attached_network.h"
#include "runner/net/leases.h"
#include "runner/net/network_request.h"

namespace gantry::runner {

constexpr const char* kPrivateNetwork = "gantry0";
constexpr Subnet kPrivateSubnet{172U << 24 | 16U << 16 | 28U << 8, 22};

// Gives the pod whose network namespace is `netns` its device eth0. Sockets in `reserved` hold the ports of the host:
// they are to live as long as the pod. For single-threaded callers.
AttachedNetwork AttachPrivate(const std::string& pod, const std::string& uuid, int netns, const NetworkRequest& request,
                              std::vector<UniqueFd>& reserved);

// No error when there is nothing to undo. The pod's devices are not deleted, which takes tens of milliseconds: the
// kernel does it on its own, with the network namespace.
void DetachPrivate(const std::string& pod);

// What `nft -f` takes: the table `name` of `subnet` as it is to be.
std::string TableOf(const std::string& name, const Subnet& subnet, const std::vector<Lease>& leases);

}  // namespace gantry::runner
