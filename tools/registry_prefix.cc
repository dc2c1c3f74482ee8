#include "tools/registry_prefix.h"

#include <algorithm>

#include "libimage/base/error.h"

namespace gantry::tools {
namespace {

image::DockerReference Checked(const image::DockerReference& name) {
  return image::DockerReference::Parse(name.ToString());
}

}  // namespace

std::optional<image::DockerReference> ParsePrefix(const std::string& text) {
  constexpr std::string_view kTransport = "docker://";
  if (!text.starts_with(kTransport) || !text.ends_with('/'))
    return std::nullopt;
  const std::string place = text.substr(kTransport.size());
  // One component more makes a name of it; Docker Hub's rules for short names would have a say without it.
  image::DockerReference name = image::DockerReference::Parse(place + "x");
  const std::string whole = name.Repository();
  if (!name.tag.empty() || whole != place + "x")
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no place in a registry", "docker://HOST[:PORT]/[PATH/]");
  name.path.resize(name.path.size() - std::min<size_t>(name.path.size(), name.path.size() > 1 ? 2 : 1));
  return name;
}

image::DockerReference Below(const image::DockerReference& prefix, const image::DockerReference& image, bool scoped) {
  const image::DockerReference from = image.WithDefaultTag();
  std::string path = scoped ? from.Repository() : from.path.substr(from.path.rfind('/') + 1);
  std::replace(path.begin(), path.end(), ':', '_');
  image::DockerReference out = prefix;
  out.path += (out.path.empty() ? "" : "/") + path;
  out.tag = from.tag;
  out.digest = from.tag.empty() ? from.digest : std::nullopt;
  return Checked(out);
}

image::DockerReference BelowByName(const image::DockerReference& prefix, const std::string& name, bool scoped) {
  if (name.find_first_of("/:") != std::string::npos)
    return Below(prefix, image::DockerReference::Parse(name), scoped);
  if (prefix.path.empty())
    throw Error(ErrorKind::kUsage, Quoted(name) + " is a tag and tells no repository", "write docker://HOST/PATH/");
  image::DockerReference out = prefix;
  out.tag = name;
  return Checked(out);
}

}  // namespace gantry::tools
