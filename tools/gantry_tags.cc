// gantry-tags: the tags of a repository.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/transport/registry.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct TagsOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::string repository;
  bool json = false;
};

image::DockerReference ParseRepository(const std::string& text) {
  constexpr std::string_view kTransport = "docker://";
  image::DockerReference name =
      image::DockerReference::Parse(text.starts_with(kTransport) ? text.substr(kTransport.size()) : text);
  if (!name.tag.empty() || name.digest)
    throw Error(ErrorKind::kUsage, Quoted(text) + " names one image", "leave out the tag: all of them are listed");
  return name;
}

void Print(const TagsOptions& options, const image::DockerReference& name, const std::vector<std::string>& tags) {
  if (options.json) {
    const json::Object line{{"repository", name.Repository()}, {"tags", tags}};
    std::printf("%s\n", json::Print(line).c_str());
    return;
  }
  for (const std::string& tag : tags) std::printf("%s\n", tag.c_str());
}

int Run(const TagsOptions& options) {
  const image::DockerReference name = ParseRepository(options.repository);
  const image::HttpOptions http_options = HttpOptionsOf(options.policy, name);
  std::optional<image::Credentials> credentials = image::FindCredentials(name);
  WarnOfInsecureNetwork(options.policy, "listed");
  Confine(options.common, PushConfinement());
  image::HttpClient http(http_options);
  image::RegistryClient registry(http, name, std::move(credentials));
  Print(options, name, registry.ListTags());
  return 0;
}

}  // namespace
}  // namespace gantry::tools

int main(int argc, char** argv) {
  using namespace gantry::tools;
  CLI::App app("List the tags of a repository.", "gantry-tags");
  TagsOptions options;
  AddCommonOptions(app, options.common);
  AddInsecureOptions(app, options.policy, {"http", "tls"});
  app.add_flag("--json", options.json, "print a JSON object");
  app.add_option("NAME", options.repository, "docker://[HOST[:PORT]/]PATH")->required();
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
