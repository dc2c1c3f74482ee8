// App Container image manifests (appc spec 0.8.11, aci.md).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/json.h"

namespace gantry::image {

constexpr size_t kMaxAciManifestBytes = 16 * 1024 * 1024;  // a whitelist names every path
constexpr std::string_view kAppcVersion = "0.8.11";

using AppcPair = std::pair<std::string, std::string>;

// The value of that name; null when there is none.
const std::string* FindPair(const std::vector<AppcPair>& pairs, std::string_view name);

struct AciMountPoint {
  std::string name, path;
  bool read_only = false;
  friend bool operator==(const AciMountPoint&, const AciMountPoint&) = default;
};

struct AciPort {
  std::string name = {}, protocol = {};
  uint64_t port = 0;
  uint64_t count = 1;  // of ports from `port` up
  bool socket_activated = false;
  friend bool operator==(const AciPort&, const AciPort&) = default;
};

struct AciEventHandler {
  std::string name;  // "pre-start" or "post-stop"
  std::vector<std::string> exec = {};
  friend bool operator==(const AciEventHandler&, const AciEventHandler&) = default;
};

struct AciApp {
  std::vector<std::string> exec = {};
  std::string user = {}, group = {};
  std::vector<int64_t> supplementary_gids = {};
  std::vector<AciEventHandler> event_handlers = {};
  std::string working_directory = {};  // empty when absent
  std::vector<AppcPair> environment = {};
  std::vector<AciMountPoint> mount_points = {};
  std::vector<AciPort> ports = {};
  std::vector<std::pair<std::string, json::Value>> isolators = {};  // name and value, in their order
  std::vector<AppcPair> user_annotations = {}, user_labels = {};    // names unique
  friend bool operator==(const AciApp&, const AciApp&) = default;
};

struct AciDependency {
  std::string image_name;
  std::string image_id = {};  // "sha512-..." or empty
  std::vector<AppcPair> labels = {};
  uint64_t size = 0;  // 0 when absent
};

struct AciManifest {
  std::string ac_version{kAppcVersion};
  std::string name;
  std::vector<AppcPair> labels = {};  // printed sorted by name
  std::optional<AciApp> app = {};
  std::vector<AppcPair> annotations = {};
  std::vector<AciDependency> dependencies = {};
  std::vector<std::string> path_whitelist = {};

  // Compact JSON; top-level members in the order acKind, acVersion, name, labels, app, annotations, dependencies,
  // pathWhitelist; empty ones left out.
  std::string ToJson() const;
  // The same with a pathWhitelist too long to be in memory twice: `for_each` hands on paths without their first slash,
  // the same on each call. kCorrupt for what Parse would refuse in it: a path that is not UTF-8, too many, too long.
  using ForEachPath = std::function<void(const std::function<void(std::string_view path)>& take)>;
  std::string ToJson(const ForEachPath& for_each) const;

  // Strict by the specification: names, label whitelist of os and arch, uniqueness, port ranges; kCorrupt otherwise.
  // Another major version than kAppcVersion's is kUnsupported. Unknown members are ignored; member names count in any
  // letter case, as for Go, where it is one spelling.
  static AciManifest Parse(std::string_view bytes);
};

// Whether `text` is an AC Identifier or AC Name (appc spec, types.md): lower-case letters and digits, between them '-',
// in identifiers also '.', '_', '~' and '/'. Separators other than '/' may follow each other, as in the schema package
// of appc and unlike in the letter of the specification: names of Docker need it ("a__b").
bool IsAcIdentifier(std::string_view text);
bool IsAcName(std::string_view text);

// docker2aci's sanitizers: lower case; what the grammar has no place for becomes '_' (identifier) or '-' (name); edges
// stripped, in identifiers those beside a '/' too. kFailed when nothing is left.
std::string ToAcIdentifier(std::string_view text);
std::string ToAcName(std::string_view text);

// Go's os and architecture to appc's ("arm","v7" -> "armv7l", "386" -> "i386"), and back; nullopt when appc has none.
// arm without variant is armv6l, as docker2aci has it.
std::optional<std::string> ToAppcArch(std::string_view architecture, std::string_view variant);
std::optional<std::pair<std::string, std::string>> FromAppcArch(std::string_view arch);

}  // namespace gantry::image
