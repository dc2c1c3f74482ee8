#include "tools/network_options.h"

#include <cstdlib>
#include <utility>

#include "libimage/transport/certificates.h"
#include "tools/registries.h"

namespace gantry::tools {
namespace {

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

}  // namespace gantry::tools
