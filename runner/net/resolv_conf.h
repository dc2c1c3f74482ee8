// resolv.conf(5), read from the host and written for a container.
#pragma once

#include <string>
#include <string_view>

#include "runner/net/network_request.h"

namespace gantry::runner {

// What glibc's resolver would take of it, at most kMaxResolverEntries of each; the rest is left out. Of several lines
// of `search` and `domain` the last counts.
Resolver ParseResolvConf(std::string_view text);

std::string PrintResolvConf(const Resolver& resolver);

// The host's, as a container with a network of its own can use it: without servers at loopback addresses, which would
// be the container's, and without IPv6 ones where it has none. Where systemd-resolved's stub is all there is, the
// servers that stand behind it count. When no server is left, Docker's: 8.8.8.8 and 8.8.4.4.
Resolver HostResolver(bool ipv6);

}  // namespace gantry::runner
