// Passwords of registries, from where `podman login`, `skopeo login` and `docker login` leave them
// (containers-auth.json(5)).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/reference.h"

namespace gantry::image {

constexpr size_t kMaxAuthFileBytes = 4 * 1024 * 1024;
constexpr size_t kMaxAuthEntries = 10'000;

struct Credentials {
  std::string username;
  std::string password;
  std::string identity_token = {};  // in place of a password, for token servers only; empty when there is none
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// The files that are looked at, in order, whether they exist or not: $REGISTRY_AUTH_FILE alone if it is set, else
// $XDG_RUNTIME_DIR/containers/auth.json (/run/containers/UID without), $XDG_CONFIG_HOME/containers/auth.json,
// $DOCKER_CONFIG/config.json, ~/.dockercfg; the others have their usual places below $HOME.
std::vector<std::string> AuthFiles();

// The first entry of those files for `name`. Runs the helper that a file names for the registry
// (docker-credential-HELPER), so it comes before any confinement. A file that can be seen and not read or parsed, and
// a helper that fails, is an error, which never repeats what was read.
std::optional<Credentials> FindCredentials(const DockerReference& name);

// The entry of one file, whose text is `json`: the longest of HOST/PATH, HOST/PARENT..., HOST among its keys, then the
// old keys that are URLs ("https://HOST/v1/"; Docker Hub is "https://index.docker.io/v1/"). An entry without a user,
// as helpers leave it, counts as none. `what` names the file in errors.
std::optional<Credentials> FindCredentialsIn(std::string_view json, const DockerReference& name, std::string_view what);

// The helper that such a file names for the registry `host` alone (credHelpers), and for all that it has no entry for
// (credsStore); empty when none.
struct CredentialHelpers {
  std::string own;
  std::string any;
};
CredentialHelpers FindHelpersIn(std::string_view json, const std::string& host, std::string_view what);

// What `gantry login` and `gantry logout` do to a file: `key` is HOST or HOST/PATH. All else in the file stays; the new
// one takes its place at once, for its owner only. Where the file names a helper for the registry, the helper keeps the
// password. RemoveCredentials returns false when there is none.
void StoreCredentials(const std::string& file, const std::string& key, const Credentials& credentials);
bool RemoveCredentials(const std::string& file, const std::string& key);

}  // namespace gantry::image
