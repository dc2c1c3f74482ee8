#include "libsign/policy.h"

#include <algorithm>
#include <cstdlib>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kSharedSystemPolicy = "/etc/containers/policy.json";

using image::DockerReference;

DockerReference ParseReference(const json::Cursor& from) {
  try {
    return DockerReference::Parse(from.String(4096));
  } catch (const Error& error) {
    from.Fail(error.message());
  }
}

bool NamesOnly(const DockerReference& reference) { return reference.tag.empty() && !reference.digest; }

// "host", or "host/path" in full, without tag or digest: with one more component it must be a normalised name.
std::string ParsePrefix(const json::Cursor& from) {
  const std::string& prefix = from.String(4096);
  try {
    if (DockerReference::Parse(prefix + "/x").Repository() == prefix + "/x") {
      return prefix;
    }
  } catch (const Error&) {
  }
  from.Fail("expected HOST[:PORT][/PATH] in full, without tag or digest");
}

// What the signature must be named when the image is asked for as `asked`.
bool AllowsRepoDigestOrExact(const DockerReference& asked, const DockerReference& signed_as) {
  if (NamesOnly(signed_as)) {
    return false;
  }
  return asked.digest ? signed_as.Repository() == asked.Repository() : signed_as == asked;
}

std::optional<DockerReference> Remap(const DockerReference& asked, const std::string& prefix,
                                     const std::string& signed_prefix) {
  const std::string repository = asked.Repository();
  if (!repository.starts_with(prefix) || (repository.size() > prefix.size() && repository[prefix.size()] != '/')) {
    return asked;
  }
  try {
    return DockerReference::Parse(signed_prefix + asked.ToString().substr(prefix.size()));
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::vector<std::string> ParsePaths(const json::Cursor& from) {
  std::vector<std::string> paths = from.Strings(kMaxKeyPaths);
  if (paths.empty()) {
    from.Fail("expected at least one path");
  }
  return paths;
}

Requirement ParseSignedBy(const json::Cursor& from) {
  from.OnlyKeys({"type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"});
  Requirement requirement;
  requirement.type = Requirement::Type::kSignedBy;
  requirement.key_type = from.At("keyType").String();
  const std::vector<std::string_view> known = {"GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"};
  if (std::find(known.begin(), known.end(), requirement.key_type) == known.end()) {
    from.At("keyType").Fail("unknown key type " + Quoted(requirement.key_type));
  }
  const json::Object& members = *from.value().object();
  int sources = 0;
  if (members.Find("keyPath") != nullptr) {
    requirement.key_paths = {from.At("keyPath").String()};
    ++sources;
  }
  if (members.Find("keyPaths") != nullptr) {
    requirement.key_paths = ParsePaths(from.At("keyPaths"));
    ++sources;
  }
  if (members.Find("keyData") != nullptr) {
    const auto data = DecodeBase64(from.At("keyData").String());
    if (!data || data->empty()) {
      from.At("keyData").Fail("expected base64");
    }
    requirement.key_data = *data;
    ++sources;
  }
  if (sources != 1) {
    from.Fail("expected exactly one of keyPath, keyPaths and keyData");
  }
  if (members.Find("signedIdentity") != nullptr) {
    requirement.identity = IdentityRule::Parse(from.At("signedIdentity"));
  }
  return requirement;
}

// Read far enough to know that it is one; it is refused where it decides.
Requirement ParseSigstoreSigned(const json::Cursor& from) {
  from.OnlyKeys({"type", "keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki", "rekorPublicKeyPath",
                 "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas", "signedIdentity"});
  Requirement requirement;
  requirement.type = Requirement::Type::kSigstoreSigned;
  if (from.value().object()->Find("signedIdentity") != nullptr) {
    requirement.identity = IdentityRule::Parse(from.At("signedIdentity"));
  }
  return requirement;
}

Requirement ParseRequirement(const json::Cursor& from) {
  const std::string& type = from.At("type").String();
  Requirement requirement;
  if (type == "insecureAcceptAnything" || type == "reject") {
    from.OnlyKeys({"type"});
    requirement.type = type == "reject" ? Requirement::Type::kReject : Requirement::Type::kInsecureAcceptAnything;
    return requirement;
  }
  if (type == "signedBy") {
    return ParseSignedBy(from);
  }
  if (type == "signedBaseLayer") {
    from.OnlyKeys({"type", "baseLayerIdentity"});
    requirement.type = Requirement::Type::kSignedBaseLayer;
    requirement.identity = IdentityRule::Parse(from.At("baseLayerIdentity"));
    return requirement;
  }
  if (type == "sigstoreSigned") {
    return ParseSigstoreSigned(from);
  }
  from.At("type").Fail("unknown requirement " + Quoted(type));
}

std::vector<Requirement> ParseRequirements(const json::Cursor& from) {
  std::vector<Requirement> requirements;
  for (const json::Cursor& element : from.Elements(kMaxRequirements)) {
    requirements.push_back(ParseRequirement(element));
  }
  if (requirements.empty()) {
    from.Fail("expected at least one requirement");
  }
  return requirements;
}

bool AcceptsAnything(const std::vector<Requirement>& requirements) {
  return std::all_of(requirements.begin(), requirements.end(), [](const Requirement& requirement) {
    return requirement.type == Requirement::Type::kInsecureAcceptAnything;
  });
}

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

DockerReference PolicyName(const DockerReference& name) {
  DockerReference as_policy = name.WithDefaultTag();
  if (as_policy.digest) {
    as_policy.tag.clear();
  }
  return as_policy;
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

IdentityRule IdentityRule::Parse(const json::Cursor& from) {
  IdentityRule rule;
  const std::string& type = from.At("type").String();
  if (type == "matchExact" || type == "matchRepoDigestOrExact" || type == "matchRepository") {
    from.OnlyKeys({"type"});
    rule.kind = type == "matchExact"        ? Kind::kMatchExact
                : type == "matchRepository" ? Kind::kMatchRepository
                                            : Kind::kMatchRepoDigestOrExact;
  } else if (type == "exactReference") {
    from.OnlyKeys({"type", "dockerReference"});
    const DockerReference reference = ParseReference(from.At("dockerReference"));
    if (NamesOnly(reference)) {
      from.At("dockerReference").Fail("expected a tag or a digest");
    }
    rule = {Kind::kExactReference, reference.ToString(), {}, {}};
  } else if (type == "exactRepository") {
    from.OnlyKeys({"type", "dockerRepository"});
    rule = {Kind::kExactRepository, ParseReference(from.At("dockerRepository")).Repository(), {}, {}};
  } else if (type == "remapIdentity") {
    from.OnlyKeys({"type", "prefix", "signedPrefix"});
    rule = {Kind::kRemapIdentity, {}, ParsePrefix(from.At("prefix")), ParsePrefix(from.At("signedPrefix"))};
  } else {
    from.At("type").Fail("unknown identity rule " + Quoted(type));
  }
  return rule;
}

bool IdentityRule::Allows(const std::optional<DockerReference>& asked, const DockerReference& signed_as) const {
  if (kind == Kind::kExactReference) {
    return signed_as.ToString() == reference;
  }
  if (kind == Kind::kExactRepository) {
    return signed_as.Repository() == reference;
  }
  if (!asked) {
    return false;
  }
  const DockerReference name = PolicyName(*asked);
  switch (kind) {
    case Kind::kMatchExact:
      return signed_as == name;
    case Kind::kMatchRepository:
      return signed_as.Repository() == name.Repository();
    case Kind::kRemapIdentity: {
      const auto remapped = Remap(name, prefix, signed_prefix);
      return remapped && AllowsRepoDigestOrExact(*remapped, signed_as);
    }
    default:
      return AllowsRepoDigestOrExact(name, signed_as);
  }
}

std::string IdentityRule::Describe(const std::optional<DockerReference>& asked) const {
  if (kind == Kind::kExactReference) {
    return Quoted(reference);
  }
  if (kind == Kind::kExactRepository) {
    return "a tag of " + Quoted(reference);
  }
  if (!asked) {
    return "nothing, as the image has no registry name";
  }
  DockerReference name = PolicyName(*asked);
  if (kind == Kind::kRemapIdentity) {
    name = Remap(name, prefix, signed_prefix).value_or(name);
  }
  const bool any_tag = kind == Kind::kMatchRepository || (kind != Kind::kMatchExact && name.digest);
  return any_tag ? "a tag of " + Quoted(name.Repository()) : Quoted(name.ToString());
}

std::string_view Requirement::Name() const {
  switch (type) {
    case Type::kInsecureAcceptAnything:
      return "insecureAcceptAnything";
    case Type::kReject:
      return "reject";
    case Type::kSignedBy:
      return "signedBy";
    case Type::kSignedBaseLayer:
      return "signedBaseLayer";
    case Type::kSigstoreSigned:
      return "sigstoreSigned";
  }
  return "unknown";
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
  policy.default_ = ParseRequirements(root.At("default"));
  if (root.value().object()->Find("transports") != nullptr) {
    for (const auto& [transport, scopes] : root.At("transports").Members(kMaxPolicyScopes)) {
      Scopes parsed;
      for (const auto& [scope, requirements] : scopes.Members(kMaxPolicyScopes)) {
        parsed.emplace_back(scope, ParseRequirements(requirements));
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
  return LoadFirst(places);
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

PolicyRule Policy::RuleFor(std::string_view transport, const std::string& path) const {
  for (const std::string& scope : ParentsOf(path)) {
    if (const auto* requirements = Find(transport, scope)) {
      return {std::string(transport) + ": " + scope, *requirements};
    }
  }
  if (const auto* requirements = Find(transport, "")) {
    return {std::string(transport) + ": any", *requirements};
  }
  return DefaultRule();
}

PolicyRule Policy::DefaultRule() const { return {"default", default_}; }

std::vector<PolicyRule> Policy::Rules() const {
  std::vector<PolicyRule> rules = {DefaultRule()};
  for (const auto& [transport, scopes] : transports_) {
    for (const auto& [scope, requirements] : scopes) {
      rules.push_back({transport + ": " + (scope.empty() ? "any" : scope), requirements});
    }
  }
  return rules;
}

std::set<std::string> Policy::KeyPaths() const {
  std::set<std::string> paths;
  for (const PolicyRule& rule : Rules()) {
    for (const Requirement& requirement : rule.requirements) {
      paths.insert(requirement.key_paths.begin(), requirement.key_paths.end());
    }
  }
  return paths;
}

bool Policy::RequiresNothing() const {
  bool nothing = AcceptsAnything(default_);
  for (const auto& [transport, scopes] : transports_) {
    for (const auto& [scope, requirements] : scopes) {
      nothing = nothing && AcceptsAnything(requirements);
    }
  }
  return nothing;
}

}  // namespace gantry::sign
