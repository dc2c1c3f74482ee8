// What gantry-sync is to copy, as people list it: on the command line, in a file with a name on each line, or in the
// YAML that skopeo sync knows (skopeo-sync(1)):
//
//   registry.example.com:
//     images:
//       busybox: []                      all tags
//       redis: ["7.0", "sha256:..."]     these
//     images-by-tag-regex:
//       nginx: ^1\.13\.[12]-alpine$
//     images-by-semver:
//       alpine: ">= 3.12.0"
//     credentials: {username: john, password: secret}
//     tls-verify: true
//     cert-dir: /home/john/certs
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/reference.h"
#include "libimage/transport/auth_file.h"

namespace gantry::tools {

constexpr size_t kMaxSyncImages = 100'000;
constexpr size_t kMaxSyncFileBytes = 4 * 1024 * 1024;

// Chooses tags; empty for all of them.
using TagFilter = std::function<bool(const std::string& tag)>;

struct SyncEntry {
  image::DockerReference name;   // with a tag or a digest: this image; else a repository
  TagFilter filter = {};         // of a repository
  std::string filtered_by = {};  // for messages
};

// What a YAML file says about a registry.
struct RegistrySettings {
  std::optional<image::Credentials> credentials = {};
  bool verify_tls = true;
  std::string certificates = {};  // a directory as certs.d has them
};

struct SyncList {
  std::vector<SyncEntry> entries;
  std::map<std::string, RegistrySettings> registries;  // by host
};

// "docker://NAME[:TAG|@DIGEST]", or the same without "docker://".
SyncEntry ParseSyncName(const std::string& text);

// Names, one a line; empty lines, and what follows '#', do not count. `what` names the file in errors.
void AddLines(std::string_view text, const std::string& what, SyncList& into);

// kCorrupt, with the place, for keys and values that are none of those above.
void AddYaml(std::string_view text, const std::string& what, SyncList& into);

}  // namespace gantry::tools
