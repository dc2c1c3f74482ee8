// What this machine says about registries.
#pragma once

#include <string>
#include <vector>

#include "libimage/model/reference.h"
#include "libimage/transport/registries_conf.h"

namespace gantry::tools {

// Read at the first call, once, for it may be large and is asked about each name.
const image::RegistriesConf& Registries();

// What a name that a user wrote may stand for, by registries.conf (RegistriesConf::Resolve).
std::vector<image::DockerReference> ResolveShortName(const std::string& text);

}  // namespace gantry::tools
