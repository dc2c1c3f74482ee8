// What the container finds in /etc that the image cannot know.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runner/config.h"

namespace gantry::runner {

using EtcFiles = std::vector<std::pair<std::string, std::string>>;  // name in /etc, content

// config.hostname, else the host's with the host's network, else the first 12 digits of the UUID.
std::string ChooseHostname(const RunConfig& config, const std::string& uuid);

// hostname and hosts; with the host's network also its resolv.conf, and its hosts are the base.
EtcFiles MakeEtcFiles(const std::string& hostname, bool host_network);

}  // namespace gantry::runner
