#include "libimage/transport/auth_file.h"

#include <unistd.h>

#include <cstdlib>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"

namespace gantry::image {
namespace {

std::optional<std::string> Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

// Keys as the old formats write them: a URL, of which only the host counts, and Docker Hub's other names.
std::string HostOfKey(std::string_view key) {
  bool url = false;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) {
      key.remove_prefix(scheme.size());
      url = true;
      break;
    }
  }
  std::string host(url ? key.substr(0, key.find('/')) : key);
  return host == "index.docker.io" || host == "registry-1.docker.io" ? "docker.io" : host;
}

// "host/a/b", "host/a", "host".
std::vector<std::string> KeysFor(const DockerReference& name) {
  std::vector<std::string> keys;
  for (std::string key = name.Repository(); key.size() > name.host.size(); key.erase(key.rfind('/')))
    keys.push_back(key);
  keys.push_back(name.host);
  return keys;
}

std::optional<Credentials> CredentialsOf(const json::Cursor& entry) {
  Credentials out;
  if (const auto auth = entry.Find("auth"); auth && !auth->String().empty()) {
    const std::optional<std::string> pair = DecodeBase64(auth->String());
    const size_t colon = pair ? pair->find(':') : std::string::npos;
    if (colon == std::string::npos)
      auth->Fail("expected base64 of user:password");
    out = {.username = pair->substr(0, colon), .password = pair->substr(colon + 1)};
    // Some writers pad with NUL bytes.
    out.password.erase(out.password.find_last_not_of('\0') + 1);
  } else {
    if (const auto username = entry.Find("username"))
      out.username = username->String();
    if (const auto password = entry.Find("password"))
      out.password = password->String();
  }
  return out.username.empty() ? std::nullopt : std::optional(out);
}

}  // namespace

std::vector<std::string> AuthFiles() {
  if (const auto only = Environment("REGISTRY_AUTH_FILE"))
    return {*only};
  const auto home = Environment("HOME");
  std::vector<std::string> out;
  const auto runtime = Environment("XDG_RUNTIME_DIR");
  out.push_back((runtime ? *runtime + "/containers" : "/run/containers/" + std::to_string(geteuid())) + "/auth.json");
  if (const auto config = Environment("XDG_CONFIG_HOME")) {
    out.push_back(*config + "/containers/auth.json");
  } else if (home) {
    out.push_back(*home + "/.config/containers/auth.json");
  }
  if (const auto docker = Environment("DOCKER_CONFIG")) {
    out.push_back(*docker + "/config.json");
  } else if (home) {
    out.push_back(*home + "/.docker/config.json");
  }
  return out;
}

std::optional<Credentials> FindCredentialsIn(std::string_view json, const DockerReference& name,
                                             std::string_view what) {
  const json::Value document = json::Parse(json, what);
  const auto auths = json::Cursor(document, std::string(what)).Find("auths");
  if (!auths)
    return std::nullopt;
  const auto entries = auths->Members(kMaxAuthEntries);
  for (const std::string& wanted : KeysFor(name)) {
    for (const auto& [key, entry] : entries) {
      if (key != wanted)
        continue;
      if (auto found = CredentialsOf(entry))
        return found;
    }
  }
  for (const auto& [key, entry] : entries) {
    if (HostOfKey(key) != name.host)
      continue;
    if (auto found = CredentialsOf(entry))
      return found;
  }
  return std::nullopt;
}

std::optional<Credentials> FindCredentials(const DockerReference& name) {
  for (const std::string& path : AuthFiles()) {
    std::string text;
    try {
      text = ReadFile(path, kMaxAuthFileBytes);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kNotFound)
        continue;
      throw;
    }
    if (auto found = FindCredentialsIn(text, name, Quoted(path)))
      return found;
  }
  return std::nullopt;
}

}  // namespace gantry::image
