#include "tools/login_options.h"

#include "libimage/base/error.h"
#include "libimage/transport/auth_file.h"

namespace gantry::tools {

image::DockerReference ParseRegistry(const std::string& text) {
  // A host alone is no name of an image, so one component is added, and taken away again.
  constexpr std::string_view kMark = "/x";
  image::DockerReference name = image::DockerReference::Parse(text + std::string(kMark));
  const bool has_host = text == name.host || text.starts_with(name.host + "/") || name.host != "docker.io";
  if (!has_host)
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no registry", "write HOST[:PORT], or HOST[:PORT]/PATH");
  name.path = name.path.size() < kMark.size() || text.find('/') == std::string::npos
                  ? ""
                  : name.path.substr(0, name.path.size() - kMark.size());
  return name;
}

std::string KeyOf(const image::DockerReference& registry) {
  return registry.path.empty() ? registry.host : registry.Repository();
}

std::string AuthFileFor(const std::string& given) { return given.empty() ? image::AuthFiles().front() : given; }

}  // namespace gantry::tools
