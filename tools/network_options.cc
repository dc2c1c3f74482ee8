#include "tools/network_options.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/transport/certificates.h"
#include "libimage/transport/registries_conf.h"
#include "tools/local_image.h"

namespace gantry::tools {
namespace {

// A program that serves the repository of `name` over the socket that is its standard input.
std::pair<UniqueFd, Process> StartNetworkHalf(const std::string& program, const image::DockerReference& name,
                                              const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0)
    ThrowErrno("make a socket pair");
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  std::vector<std::string> argv{Sibling(program)};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  argv.insert(argv.end(), {"-", image::Reference(name).ToString()});
  Process process = Process::Start(argv, {{theirs.get(), STDIN_FILENO}});
  return {std::move(ours), std::move(process)};
}

}  // namespace

namespace {

// Read once: it may be large, and is asked about each name.
const image::RegistriesConf& Registries() {
  static const image::RegistriesConf kRegistries = image::RegistriesConf::Load();
  return kRegistries;
}

image::HttpOptions OptionsFor(const PolicyOptions& policy, const std::string& host, bool insecure) {
  return image::WithCertificates(
      {.verify_tls = !policy.insecure_tls() && !insecure, .allow_http = policy.insecure_http() || insecure}, host);
}

}  // namespace

image::HttpOptions HttpOptionsOf(const PolicyOptions& policy, const image::DockerReference& name) {
  return OptionsFor(policy, name.host, Registries().IsInsecure(name));
}

image::HttpOptions WithNotes(image::HttpOptions http, const CommonOptions& common) {
  if (common.verbose)
    http.note = [common](const std::string& text) { Note(common, text); };
  return http;
}

std::vector<image::FetchSource> FetchSourcesOf(const PolicyOptions& policy, const image::DockerReference& name) {
  std::vector<image::FetchSource> sources;
  for (const image::PullSource& source : Registries().SourcesOf(name))
    sources.push_back({source.name, OptionsFor(policy, source.name.host, source.insecure)});
  return sources;
}

std::vector<image::DockerReference> ResolveShortName(const std::string& text) { return Registries().Resolve(text); }

image::Confinement PushConfinement() {
  image::Confinement keep{.read = image::SystemFiles(), .network = true};
  for (const char* variable : {"SSL_CERT_FILE", "SSL_CERT_DIR"}) {
    if (const char* path = std::getenv(variable); path != nullptr)
      keep.read.emplace_back(path);
  }
  return keep;
}

image::Confinement FetchConfinement(const std::string& store_root) {
  image::Confinement keep = PushConfinement();
  keep.write.push_back(store_root);
  return keep;
}

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

void WarnOfInsecureNetwork(const PolicyOptions& policy, std::string_view done) {
  const std::string what = "anyone on the way can read and change what is " + std::string(done);
  if (policy.insecure_http())
    Warn({}, "plain http is allowed: " + what);
  if (policy.insecure_tls())
    Warn({}, "certificates are not checked: " + what);
}

}  // namespace gantry::tools
