// What gantry-login and gantry-logout have in common: which registry, which file.
#pragma once

#include <string>

#include "libimage/model/reference.h"

namespace gantry::tools {

// "HOST[:PORT][/PATH]"; the path is empty for the whole registry.
image::DockerReference ParseRegistry(const std::string& text);

// How the file calls it: "HOST" or "HOST/PATH".
std::string KeyOf(const image::DockerReference& registry);

// The file given by a flag, else the first of image::AuthFiles.
std::string AuthFileFor(const std::string& given);

}  // namespace gantry::tools
