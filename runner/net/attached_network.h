// What a pod got when its network was attached.
#pragma once

#include <string>
#include <vector>

#include "runner/net/network_request.h"

namespace gantry::runner {

struct AttachedNetwork {
  std::vector<std::string> addresses;  // of the pod, with their prefix: "172.16.28.2/22"
  std::string gateway;                 // the host, as the pod reaches it; empty: it does not
  bool ipv6 = false;
  Resolver resolver;  // what the network says; what is empty is the host's
};

}  // namespace gantry::runner
