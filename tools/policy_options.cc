#include "tools/policy_options.h"

#include <algorithm>
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

sign::Policy LoadPolicy(const PolicyOptions& options, const CommonOptions& common) {
  if (options.insecure_image()) {
    Warn({}, "--insecure-options=image: no policy is asked, whoever made this image is trusted");
    return sign::Policy::AcceptAnything("--insecure-options=image");
  }
  sign::Policy policy =
      sign::Policy::Load(options.policy_path.empty() ? std::nullopt : std::optional(options.policy_path));
  Note(common, "policy: " + policy.source());
  if (!policy.passed_over().empty()) {
    Note(common, policy.passed_over());
  }
  return policy;
}

}  // namespace gantry::tools
