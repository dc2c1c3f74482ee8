#include "tools/policy_options.h"

#include <linux/capability.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

namespace gantry::tools {

bool PolicyOptions::Has(std::string_view what) const {
  return std::find(insecure.begin(), insecure.end(), what) != insecure.end();
}

std::vector<std::string> PolicyOptions::Arguments() const {
  std::vector<std::string> arguments;
  if (!policy_path.empty()) {
    arguments = {"--policy", policy_path};
  }
  for (const std::string& option : insecure) {
    arguments.push_back("--insecure-options=" + option);
  }
  return arguments;
}

void AddInsecureOptions(CLI::App& app, PolicyOptions& options, const std::vector<std::string>& allowed) {
  std::string list;
  for (const std::string& option : allowed) {
    list += (list.empty() ? "" : ", ") + option;
  }
  app.add_option("--insecure-options", options.insecure, "give up a protection for this command: " + list)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(allowed))
      ->type_name("LIST");
}

void AddPolicyOptions(CLI::App& app, PolicyOptions& options) {
  app.add_option("--policy", options.policy_path, "the trust policy [env: GANTRY_POLICY]")->type_name("FILE");
  AddInsecureOptions(app, options, {"image", "http", "tls"});
}

void AddLookasideOptions(CLI::App& app, std::string& as, std::string& registries) {
  app.add_option("--as", as, "the registry name of the image, in place of the one it has")->type_name("NAME");
  AddRegistriesOption(app, registries);
}

void AddRegistriesOption(CLI::App& app, std::string& registries) {
  app.add_option("--registries.d", registries,
                 "where lookasides are configured, in place of containers-registries.d(5)")
      ->type_name("DIR");
}

std::optional<image::DockerReference> ParseAs(const std::string& text) {
  if (text.empty()) {
    return std::nullopt;
  }
  constexpr std::string_view kTransport = "docker://";
  const std::string_view name = text;
  return sign::PolicyName(
      image::DockerReference::Parse(name.starts_with(kTransport) ? name.substr(kTransport.size()) : name));
}

std::optional<std::string> Given(const std::string& value) {
  return value.empty() ? std::nullopt : std::optional(value);
}

void KeepForGpg(image::Confinement& keep) {
  // Each gpg looks at itself in /proc; in a Landlock domain no other process can be looked into.
  for (const char* path : {"/proc", "/etc/gcrypt"}) {
    keep.read.emplace_back(path);
  }
  keep.write.emplace_back("/dev/null");
  const char* temporary = std::getenv("TMPDIR");
  keep.write.emplace_back(temporary != nullptr && *temporary == '/' ? temporary : "/tmp");
  for (const std::string& program : image::SystemPrograms()) {
    keep.execute.push_back(program);
  }
}

image::Confinement DecisionConfinement(const sign::Policy& policy, const sign::RegistriesD& registries) {
  image::Confinement keep{.read = image::SystemFiles(), .capabilities = {CAP_DAC_READ_SEARCH}};
  for (const std::string& key : policy.KeyPaths()) {
    keep.read.push_back(key);
  }
  for (const std::string& lookaside : registries.ReadDirectories()) {
    keep.read.push_back(lookaside);
  }
  KeepForGpg(keep);
  return keep;
}

sign::Policy LoadPolicy(const PolicyOptions& options, const CommonOptions& common) {
  if (options.insecure_image()) {
    Warn({}, "--insecure-options=image: no policy is asked, whoever made this image is trusted");
    return sign::Policy::AcceptAnything("--insecure-options=image");
  }
  sign::Policy policy = sign::Policy::Load(Given(options.policy_path));
  Note(common, "policy: " + policy.source());
  if (!policy.passed_over().empty()) {
    Note(common, policy.passed_over());
  }
  return policy;
}

void WarnOfInsecureNetwork(const PolicyOptions& policy, std::string_view done) {
  const std::string what = "anyone on the way can read and change what is " + std::string(done);
  if (policy.insecure_http())
    Warn({}, "plain http is allowed: " + what);
  if (policy.insecure_tls())
    Warn({}, "certificates are not checked: " + what);
}

}  // namespace gantry::tools
