#include "serve/request.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Require;

// A path as clients send it, a line with the version where there is one.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::serve;
  const std::string_view text = gantry::fuzz::Text(data, size);
  const size_t line = std::min(text.find('\n'), text.size());
  const std::string_view path = text.substr(0, line);
  std::optional<std::string> version;
  if (line < text.size())
    version = std::string(text.substr(line + 1));
  static const Upstreams kUpstreams = [] {
    Upstreams all;
    all.Add("docker://registry.test/base");
    all.Add("hub=docker://docker.io");
    return all;
  }();
  const auto is_ours = [&](const std::string& name, const std::string& reference) {
    const auto found = kUpstreams.Find(name, reference);
    return !found || (found->host == "registry.test" && found->path.starts_with("base/")) || found->host == "docker.io";
  };
  if (const auto aci = AciRequest::Parse(path, "images.test", version)) {
    Require(aci->name == "images.test/" + aci->repository);
    Require(aci->repository.find("..") == std::string::npos);
    Require(is_ours(aci->repository, aci->version));
  }
  if (const auto request = RegistryRequest::Parse(path)) {
    const FormedName name = FormedName::Parse(request->name);
    Require(FormedName::Parse(name.ToString()).form == name.form);
    if (!request->reference.empty())
      Require(is_ours(name.name, request->reference));
  }
  return 0;
}
