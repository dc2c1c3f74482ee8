// gantry-tags: the tags of a repository, listed or taken away.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/transport/auth_file.h"
#include "libimage/transport/delete_tag.h"
#include "libimage/transport/registry.h"
#include "tools/network_options.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {
namespace {

struct TagsOptions {
  CommonOptions common;
  PolicyOptions policy;
  std::vector<std::string> names;
  bool remove = false;
  bool json = false;
};

image::DockerReference ParseName(const std::string& text) {
  constexpr std::string_view kTransport = "docker://";
  return image::DockerReference::Parse(text.starts_with(kTransport) ? text.substr(kTransport.size()) : text);
}

image::DockerReference ParseRepository(const std::string& text) {
  image::DockerReference name = ParseName(text);
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

// A name whose tag, and only that, is to go.
image::DockerReference ParseTagged(const std::string& text) {
  image::DockerReference name = ParseName(text);
  if (name.tag.empty() || name.digest) {
    throw Error(ErrorKind::kUsage, Quoted(text) + " names no tag, or more than a tag",
                "write docker://[HOST/]PATH:TAG; only tags are deleted, and all that other tags lead to stays");
  }
  return name;
}

int DeleteTags(const TagsOptions& options) {
  std::vector<image::DockerReference> names;
  for (const std::string& text : options.names) names.push_back(ParseTagged(text));
  std::vector<std::unique_ptr<image::HttpClient>> clients;
  std::vector<std::unique_ptr<image::RegistryClient>> registries;
  for (const image::DockerReference& name : names) {
    clients.push_back(std::make_unique<image::HttpClient>(HttpOptionsOf(options.policy, name)));
    registries.push_back(std::make_unique<image::RegistryClient>(*clients.back(), name, image::FindCredentials(name),
                                                                 "pull,push,delete"));
  }
  WarnOfInsecureNetwork(options.policy, "deleted");
  Confine(options.common, PushConfinement());
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string digest = image::DeleteTag(*registries[i], names[i]).str();
    if (options.json)
      std::printf("%s\n", json::Print(json::Object{{"deleted", names[i].ToString()}, {"id", digest}}).c_str());
    else
      std::printf("%s  %s\n", digest.c_str(), names[i].ToString().c_str());
  }
  return 0;
}

int Run(const TagsOptions& options) {
  if (options.remove)
    return DeleteTags(options);
  if (options.names.size() != 1)
    throw Error(ErrorKind::kUsage, "the tags of one repository at a time", "gantry-tags docker://[HOST/]PATH");
  const image::DockerReference name = ParseRepository(options.names.front());
  const image::HttpOptions http_options = WithNotes(HttpOptionsOf(options.policy, name), options.common);
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
  CLI::App app("List the tags of a repository, or delete some.", "gantry-tags");
  TagsOptions options;
  AddCommonOptions(app, options.common);
  AddInsecureOptions(app, options.policy, {"http", "tls"});
  app.add_flag("--delete", options.remove, "delete the tags of these names, and nothing else");
  app.add_flag("--json", options.json, "print a JSON object");
  app.add_option("NAME", options.names, "docker://[HOST[:PORT]/]PATH; with --delete names with a tag")->required();
  return ToolMain(app, argc, argv, [&] { return Run(options); });
}
