#include "libsign/policy.h"

#include <algorithm>
#include <cstdlib>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kSharedSystemPolicy = "/etc/containers/policy.json";

using image::DockerReference;

std::optional<std::string> ReadIfThere(const std::string& path) {
  try {
    return ReadFile(path, kMaxPolicyBytes);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kNotFound) {
      return std::nullopt;
    }
    throw;
  }
}

std::vector<std::string> ParentsOf(std::string path) {
  std::vector<std::string> scopes;
  while (path.size() > 1) {
    scopes.push_back(path);
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  return scopes;
}

// Scopes of transports that are files are absolute paths in their one spelling; "/" would be what "" is. Archives of
// docker save have none. What other programs look up under their own transports is not judged here.
void CheckScope(std::string_view transport, const std::string& scope, const json::Cursor& from) {
  const bool of_paths = transport == "oci" || transport == "oci-archive" || transport == "dir" || transport == "aci";
  if (scope.empty() || (!of_paths && transport != "docker-archive")) {
    return;
  }
  if (!of_paths) {
    from.Fail("expected only the scope \"\"");
  }
  try {
    if (scope.starts_with('/') && RelPath::Parse(scope.substr(1)).str() == scope.substr(1)) {
      return;
    }
  } catch (const Error&) {
  }
  from.Fail("expected an absolute path without '.', '..' or a slash at its end, or \"\" for all");
}

// What the trusted keys of appc come to: which of them count is looked up by the name of each ACI.
PolicyRule TrustedKeyRule(const std::string& prefix) {
  return {"appc: " + (prefix.empty() ? "any" : prefix), {{.type = Requirement::Type::kAppcSigned}}, prefix};
}

}  // namespace

std::optional<std::string> UserConfigDirectory() {
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config == '/') {
    return config;
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return std::string(home) + "/.config";
  }
  return std::nullopt;
}

std::vector<std::string> ScopesOf(const DockerReference& name) {
  const DockerReference full = PolicyName(name);
  std::vector<std::string> scopes = {full.ToString()};
  std::string scope = full.Repository();
  while (true) {
    scopes.push_back(scope);
    const size_t slash = scope.rfind('/');
    if (slash == std::string::npos) {
      break;
    }
    scope.resize(slash);
  }
  scope = scope.substr(0, scope.find(':'));
  for (size_t dot = scope.find('.'); dot != std::string::npos; dot = scope.find('.')) {
    scope.erase(0, dot + 1);
    scopes.push_back("*." + scope);
  }
  return scopes;
}

Policy Policy::Parse(std::string_view text, std::string_view what) {
  if (text.size() > kMaxPolicyBytes) {
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": over " + std::to_string(kMaxPolicyBytes) + " bytes");
  }
  const json::Value document = json::Parse(text, what);
  const json::Cursor root(document, std::string(what));
  root.OnlyKeys({"default", "transports"});
  Policy policy;
  policy.source_ = what;
  policy.default_ = Requirement::ParseList(root.At("default"));
  if (root.value().object()->Find("transports") != nullptr) {
    for (const auto& [transport, scopes] : root.At("transports").Members(kMaxPolicyScopes)) {
      Scopes parsed;
      for (const auto& [scope, requirements] : scopes.Members(kMaxPolicyScopes)) {
        CheckScope(transport, scope, requirements);
        parsed.emplace_back(scope, Requirement::ParseList(requirements));
      }
      std::sort(parsed.begin(), parsed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      policy.transports_.emplace_back(transport, std::move(parsed));
    }
  }
  return policy;
}

Policy Policy::LoadFirst(const std::vector<std::string>& places) {
  std::string passed_over;
  for (const std::string& place : places) {
    const auto text = ReadIfThere(place);
    if (!text) {
      continue;
    }
    Policy policy = Parse(*text, place);
    if (place == kSharedSystemPolicy && policy.RequiresNothing()) {
      passed_over = place + " accepts everything, as distributions ship it, and does not count as a policy";
      continue;
    }
    return policy;
  }
  Policy built_in;
  built_in.default_ = {Requirement{}};
  built_in.source_ = "built-in policy";
  built_in.passed_over_ = passed_over;
  return built_in;
}

Policy Policy::Load(const std::optional<std::string>& path) {
  const char* variable = std::getenv("GANTRY_POLICY");
  const bool from_variable = !path && variable != nullptr && *variable != '\0';
  if (path || from_variable) {
    const std::string named = path ? *path : variable;
    Policy policy = Parse(ReadFile(named, kMaxPolicyBytes), named);
    policy.named_ = path.has_value();
    policy.LoadTrustedKeys(named);
    return policy;
  }
  const auto user = UserConfigDirectory();
  std::vector<std::string> places;
  for (const std::string program : {"gantry", "containers"}) {
    if (user) {
      places.push_back(*user + "/" + program + "/policy.json");
    }
    places.push_back("/etc/" + program + "/policy.json");
  }
  Policy policy = LoadFirst(places);
  policy.LoadTrustedKeys(std::nullopt);
  return policy;
}

void Policy::LoadTrustedKeys(const std::optional<std::string>& policy_file) {
  trusted_keys_ = TrustedKeys::Read(TrustedKeyDirectories(policy_file));
}

Policy Policy::AcceptAnything(std::string why) {
  Policy policy;
  Requirement accept;
  accept.type = Requirement::Type::kInsecureAcceptAnything;
  policy.default_ = {accept};
  policy.source_ = std::move(why);
  policy.accepts_anything_ = true;
  return policy;
}

const std::vector<Requirement>* Policy::Find(std::string_view transport, std::string_view scope) const {
  for (const auto& [name, scopes] : transports_) {
    if (name == transport) {
      const auto at = std::lower_bound(scopes.begin(), scopes.end(), scope,
                                       [](const auto& entry, std::string_view wanted) { return entry.first < wanted; });
      return at != scopes.end() && at->first == scope ? &at->second : nullptr;
    }
  }
  return nullptr;
}

PolicyRule Policy::RuleFor(const DockerReference& name) const {
  for (const std::string& scope : ScopesOf(name)) {
    if (const auto* requirements = Find("docker", scope)) {
      return {"docker: " + scope, *requirements};
    }
  }
  if (const auto* requirements = Find("docker", "")) {
    return {"docker: any", *requirements};
  }
  return DefaultRule();
}

PolicyRule Policy::RuleFor(std::string_view transport, const std::string& path,
                           const std::optional<std::string>& appc_name) const {
  for (const std::string& scope : ParentsOf(path)) {
    if (const auto* requirements = Find(transport, scope)) {
      return {std::string(transport) + ": " + scope, *requirements};
    }
  }
  if (const auto prefix = appc_name ? trusted_keys_.PrefixOf(*appc_name) : std::nullopt) {
    return TrustedKeyRule(*prefix);
  }
  if (const auto* requirements = Find(transport, "")) {
    return {std::string(transport) + ": any", *requirements};
  }
  return DefaultRule();
}

PolicyRule Policy::DefaultRule() const { return {"default", default_}; }

bool PolicyRule::WantsAttachments() const {
  return std::any_of(requirements.begin(), requirements.end(),
                     [](const Requirement& requirement) { return requirement.WantsAttachments(); });
}

bool PolicyRule::WantsNewest() const {
  return std::any_of(requirements.begin(), requirements.end(),
                     [](const Requirement& requirement) { return requirement.WantsNewest(); });
}

std::vector<PolicyRule> Policy::Rules() const {
  std::vector<PolicyRule> rules = {DefaultRule()};
  for (const auto& [transport, scopes] : transports_) {
    for (const auto& [scope, requirements] : scopes) {
      rules.push_back({transport + ": " + (scope.empty() ? "any" : scope), requirements});
    }
  }
  std::set<std::string> prefixes;
  for (const TrustedKey& file : trusted_keys_.files()) {
    prefixes.insert(file.prefix);
  }
  for (const std::string& prefix : prefixes) {
    rules.push_back(TrustedKeyRule(prefix));
  }
  return rules;
}

bool Policy::WantsIdentities() const {
  const auto wants = [](const std::vector<Requirement>& requirements) {
    return std::any_of(requirements.begin(), requirements.end(),
                       [](const Requirement& requirement) { return requirement.WantsIdentities(); });
  };
  return wants(default_) || std::any_of(transports_.begin(), transports_.end(), [&wants](const auto& transport) {
           return std::any_of(transport.second.begin(), transport.second.end(),
                              [&wants](const auto& scope) { return wants(scope.second); });
         });
}

std::set<std::string> Policy::KeyPaths() const {
  std::set<std::string> paths;
  for (const PolicyRule& rule : Rules()) {
    for (const Requirement& requirement : rule.requirements) {
      requirement.AddKeyPaths(paths);
    }
  }
  for (const TrustedKey& file : trusted_keys_.files()) {
    paths.insert(file.path);
  }
  return paths;
}

bool Policy::RequiresNothing() const {
  const auto accepts_anything = [](const std::vector<Requirement>& requirements) {
    return std::all_of(requirements.begin(), requirements.end(),
                       [](const Requirement& requirement) { return requirement.AcceptsAnything(); });
  };
  bool nothing = accepts_anything(default_);
  for (const auto& [transport, scopes] : transports_) {
    for (const auto& [scope, requirements] : scopes) {
      nothing = nothing && accepts_anything(requirements);
    }
  }
  return nothing;
}

}  // namespace gantry::sign
