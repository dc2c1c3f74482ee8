#include "libsign/trust_file.h"

#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/model/reference.h"
#include "libsign/policy.h"

namespace gantry::sign {
namespace {

using image::DockerReference;

constexpr std::string_view kOpenPgpRequirement = "signedBy";

bool IsHost(std::string_view text) {
  const std::string_view name = text.substr(0, text.find(':'));
  const bool known = name == "localhost" || text.starts_with('[') || name.find('.') != std::string_view::npos;
  return known && text.find('/') == std::string_view::npos;
}

[[noreturn]] void RefuseScope(std::string_view text) {
  throw Error(ErrorKind::kUsage, Quoted(text) + " is not a scope",
              "write docker://HOST/REPOSITORY[:TAG], a HOST, a namespace HOST/PATH/, or *.DOMAIN");
}

// "host" or "host/path" where a repository "host/path/x" would be in its normal form.
std::string Namespace(std::string_view scope, std::string_view text) {
  const std::string with_more = std::string(scope) + "/x";
  if (DockerReference::Parse(with_more).Repository() != with_more) {
    RefuseScope(text);
  }
  return std::string(scope);
}

// The directory of a file, created, and the file's name in it.
struct Place {
  Dir dir;
  RelPath name;
  std::string absolute_dir;
};

Place PlaceOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Dir dir = Dir::Create(directory);
  std::string absolute = RealPath(directory);
  return {std::move(dir), RelPath::Parse(path.substr(slash == std::string::npos ? 0 : slash + 1)), std::move(absolute)};
}

// Held until the Place is gone.
void Lock(const Dir& dir) {
  if (flock(dir.fd(), LOCK_EX) != 0) {
    ThrowErrno("lock " + Quoted(dir.name()));
  }
}

json::Object RejectAll() { return json::Object{{"default", json::Array{json::Object{{"type", "reject"}}}}}; }

// The policy to edit, and where it came from when `path` does not exist yet.
json::Value LoadForEditing(const Place& place, const std::string& path, std::string& started_from) {
  std::string text;
  if (place.dir.Exists(place.name)) {
    text = ReadFile(path, kMaxPolicyBytes);
    Policy::Parse(text, path);
    return json::Parse(text, path);
  }
  const char* variable = std::getenv("GANTRY_POLICY");
  const bool names_this = variable != nullptr && path == variable;
  const std::string source = names_this ? "" : Policy::Load(std::nullopt).source();
  if (!source.starts_with('/')) {
    return RejectAll();
  }
  started_from = source;
  return json::Parse(ReadFile(source, kMaxPolicyBytes), source);
}

void Save(const Place& place, const json::Value& document, const std::string& path) {
  const std::string text = json::PrintPretty(document);
  Policy::Parse(text, path);
  place.dir.WriteFileAtomically(place.name, text);
}

// The object under `key`, made when it is missing.
json::Object& Child(json::Object& parent, const std::string& key) {
  if (parent.Find(key) == nullptr) {
    parent.Set(key, json::Object());
  }
  // The strict reader has seen that it is an object, and nothing else holds it.
  return *const_cast<json::Value*>(parent.Find(key))->object();
}

json::Object RequirementOf(const std::string& type, const std::vector<std::string>& key_paths) {
  json::Object requirement = {{"type", type}};
  if (type == kOpenPgpRequirement) {
    requirement.Append("keyType", "GPGKeys");
  }
  if (key_paths.size() == 1) {
    requirement.Append("keyPath", key_paths[0]);
  } else {
    requirement.Append("keyPaths", key_paths);
  }
  return requirement;
}

// Whether keys can be added to it: of that type, with keys in files, and nothing that would be lost.
bool TakesKeys(const json::Cursor& requirement, const std::string& type) {
  const json::Object& members = *requirement.value().object();
  if (requirement.At("type").String() != type ||
      (type == kOpenPgpRequirement && requirement.At("keyType").String() != "GPGKeys")) {
    return false;
  }
  constexpr std::array<std::string_view, 5> kKnown = {"type", "keyType", "keyPath", "keyPaths", "signedIdentity"};
  return std::all_of(members.members().begin(), members.members().end(), [&](const json::Member& member) {
    return std::find(kKnown.begin(), kKnown.end(), member.first) != kKnown.end();
  });
}

// The requirements of `scope` with `key_path` among the keys; nullopt when it is there already.
std::optional<json::Array> WithKey(const json::Value* present, const std::string& scope, const std::string& type,
                                   const std::string& key_path) {
  if (present == nullptr) {
    return json::Array{RequirementOf(type, {key_path})};
  }
  const json::Array& requirements = *present->array();
  const json::Cursor cursor(requirements[0], "policy");
  if (requirements.size() != 1 || !TakesKeys(cursor, type)) {
    throw Error(ErrorKind::kUsage, "scope " + Quoted(scope) + " has requirements to which no such key can be added",
                "'gantry trust remove " + scope + "' drops them; then add the key");
  }
  const auto one = cursor.Find("keyPath");
  std::vector<std::string> paths =
      one ? std::vector<std::string>{one->String()} : cursor.At("keyPaths").Strings(kMaxKeyPaths);
  if (std::find(paths.begin(), paths.end(), key_path) != paths.end()) {
    return std::nullopt;
  }
  paths.push_back(key_path);
  json::Object changed = RequirementOf(type, paths);
  if (const json::Value* identity = requirements[0].object()->Find("signedIdentity")) {
    changed.Append("signedIdentity", *identity);
  }
  return json::Array{changed};
}

}  // namespace

std::string ParseScope(std::string_view text) {
  std::string_view scope = text;
  constexpr std::string_view kTransport = "docker://";
  if (scope.starts_with(kTransport)) {
    scope.remove_prefix(kTransport.size());
  }
  if (scope.starts_with("*.")) {
    const std::string_view domain = scope.substr(2);
    if (domain.empty() || domain.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") != domain.npos) {
      RefuseScope(text);
    }
    return std::string(scope);
  }
  if (scope.ends_with('/') && scope.size() > 1) {
    return Namespace(scope.substr(0, scope.size() - 1), text);
  }
  if (IsHost(scope)) {
    return Namespace(scope, text);
  }
  const DockerReference reference = DockerReference::Parse(scope);
  if (reference.digest && !reference.tag.empty()) {
    RefuseScope(text);
  }
  return reference.ToString();
}

std::string EditedPolicyPath(const std::optional<std::string>& path) {
  if (path) {
    return *path;
  }
  if (const char* variable = std::getenv("GANTRY_POLICY"); variable != nullptr && *variable != '\0') {
    return variable;
  }
  const auto config = UserConfigDirectory();
  if (config) {
    std::string users = *config + "/gantry/policy.json";
    if (geteuid() != 0 || access(users.c_str(), F_OK) == 0) {
      return users;
    }
  }
  return "/etc/gantry/policy.json";
}

NewKey NewKey::OpenPgp(std::string content, const KeyInfo& info) {
  const bool armored = content.starts_with('-');
  return {std::move(content), info.fingerprint + (armored ? ".asc" : ".gpg"), std::string(kOpenPgpRequirement)};
}

NewKey NewKey::Bare(const PublicKey& key, bool identity) {
  return {key.ToPem(), key.fingerprint() + ".pub", identity ? "identitySigned" : "sigstoreSigned"};
}

AddedKey AddKey(const std::string& policy_path, const std::string& scope, const NewKey& key) {
  const Place place = PlaceOf(policy_path);
  Lock(place.dir);
  AddedKey added;
  added.policy = policy_path;
  json::Value document = LoadForEditing(place, policy_path, added.started_from);
  json::Object& scopes = Child(Child(*document.object(), "transports"), "docker");

  const RelPath key_name = RelPath::Parse(key.file_name);
  added.key_file = place.absolute_dir + "/keys/" + key_name.str();
  const auto changed = WithKey(scopes.Find(scope), scope, key.requirement, added.key_file);
  // The key first: a policy that names a missing key refuses everything in its scope.
  place.dir.MakeDirs(RelPath::Parse("keys")).WriteFileAtomically(key_name, key.content);
  added.was_there = !changed;
  if (changed) {
    scopes.Set(scope, *changed);
    Save(place, document, policy_path);
  }
  return added;
}

bool RemoveScope(const std::string& policy_path, const std::string& scope) {
  if (access(policy_path.c_str(), F_OK) != 0) {
    return false;
  }
  const Place place = PlaceOf(policy_path);
  Lock(place.dir);
  std::string started_from;
  json::Value document = LoadForEditing(place, policy_path, started_from);
  json::Object& scopes = Child(Child(*document.object(), "transports"), "docker");
  if (scopes.Find(scope) == nullptr) {
    return false;
  }
  scopes.Remove(scope);
  Save(place, document, policy_path);
  return true;
}

}  // namespace gantry::sign
