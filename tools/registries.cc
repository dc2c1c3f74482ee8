#include "tools/registries.h"

namespace gantry::tools {

const image::RegistriesConf& Registries() {
  static const image::RegistriesConf kRegistries = image::RegistriesConf::Load();
  return kRegistries;
}

std::vector<image::DockerReference> ResolveShortName(const std::string& text) { return Registries().Resolve(text); }

}  // namespace gantry::tools
