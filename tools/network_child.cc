#include "tools/network_child.h"

#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "tools/local_image.h"

namespace gantry::tools {
namespace {

// A program that serves the repository of `name` over the socket that is its standard input.
std::pair<UniqueFd, Process> StartNetworkHalf(const std::string& program, const image::DockerReference& name,
                                              const std::vector<std::string>& arguments) {
  auto [ours, theirs] = SocketPair(SOCK_STREAM);
  std::vector<std::string> argv{Sibling(program)};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  argv.insert(argv.end(), {"-", image::Reference(name).ToString()});
  Process process = Process::Start(argv, {{theirs.get(), STDIN_FILENO}});
  return {std::move(ours), std::move(process)};
}

}  // namespace

std::vector<std::string> PushArguments(const PolicyOptions& policy, const CommonOptions& common) {
  std::vector<std::string> arguments;
  if (policy.insecure_http())
    arguments.emplace_back("--insecure-options=http");
  if (policy.insecure_tls())
    arguments.emplace_back("--insecure-options=tls");
  if (common.quiet)
    arguments.emplace_back("--quiet");
  return arguments;
}

image::Pusher StartPush(const image::DockerReference& name, const std::vector<std::string>& arguments) {
  auto [channel, process] = StartNetworkHalf("gantry-push", name, arguments);
  return {std::move(channel), std::move(process)};
}

image::Fetcher StartFetch(const image::DockerReference& name, const image::Platform& platform,
                          const std::vector<std::string>& arguments) {
  auto [channel, process] = StartNetworkHalf("gantry-fetch", name, arguments);
  image::FetchPlan plan{.name = name, .platform = platform};
  return {std::move(plan), std::move(channel), std::move(process)};
}

}  // namespace gantry::tools
