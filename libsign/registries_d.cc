#include "libsign/registries_d.h"

#include <unistd.h>

#include <cstdlib>
#include <set>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/yaml.h"
#include "libsign/policy.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kSystemDirectory = "/etc/containers/registries.d";

[[noreturn]] void Refuse(std::string_view what, const std::string& problem) {
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + problem, "see containers-registries.d(5)");
}

// Nothing is a map of nothing.
std::vector<std::pair<std::string, json::Cursor>> MapOf(const json::Cursor& node) {
  return node.value().is_null() ? std::vector<std::pair<std::string, json::Cursor>>()
                                : node.Members(kMaxRegistriesFileBytes);
}

// Where signatures are when nothing is configured.
std::string DefaultLookaside() {
  if (geteuid() == 0) {
    return "file:///var/lib/containers/sigstore";
  }
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? "file://" + std::string(home) + "/.local/share/containers/sigstore"
                                         : "file:///var/lib/containers/sigstore";
}

std::optional<std::string> ConfiguredDirectory() {
  if (const auto user = UserConfigDirectory()) {
    const std::string directory = *user + "/containers/registries.d";
    if (access(directory.c_str(), F_OK) == 0) {
      return directory;
    }
  }
  return access(kSystemDirectory.data(), F_OK) == 0 ? std::optional<std::string>(kSystemDirectory) : std::nullopt;
}

struct ParsedPlaces {
  std::string lookaside;
  std::string staging;
};

// The current key of each pair wins over the one from before it was renamed.
ParsedPlaces ParsePlaces(const json::Cursor& node) {
  ParsedPlaces places;
  std::string old_lookaside;
  std::string old_staging;
  for (const auto& [key, value] : MapOf(node)) {
    std::string* const into = key == "lookaside"           ? &places.lookaside
                              : key == "lookaside-staging" ? &places.staging
                              : key == "sigstore"          ? &old_lookaside
                              : key == "sigstore-staging"  ? &old_staging
                                                           : nullptr;
    if (into != nullptr) {
      *into = value.String();
    }
  }
  if (places.lookaside.empty()) {
    places.lookaside = old_lookaside;
  }
  if (places.staging.empty()) {
    places.staging = old_staging;
  }
  return places;
}

}  // namespace

void RegistriesD::Add(std::string_view yaml, std::string_view what) {
  const std::string file(what);
  if (yaml.size() > kMaxRegistriesFileBytes) {
    Refuse(what, "over " + std::to_string(kMaxRegistriesFileBytes) + " bytes");
  }
  const json::Value document = ParseYaml(yaml, what);
  for (const auto& [section, node] : MapOf(json::Cursor(document, file))) {
    if (section == "default-docker") {
      if (default_) {
        Refuse(what, "'default-docker' is also in " + default_->origin);
      }
      const ParsedPlaces places = ParsePlaces(node);
      default_ = Places{places.lookaside, places.staging, file};
    } else if (section == "docker") {
      for (const auto& [scope, value] : MapOf(node)) {
        const ParsedPlaces places = ParsePlaces(value);
        const auto [at, added] = scopes_.try_emplace(scope, Places{places.lookaside, places.staging, file});
        if (!added) {
          Refuse(what, "scope " + Quoted(scope) + " is also in " + at->second.origin);
        }
      }
    }
  }
}

RegistriesD RegistriesD::Parse(std::string_view yaml, std::string_view what) {
  RegistriesD registries;
  registries.Add(yaml, what);
  return registries;
}

RegistriesD RegistriesD::Load(const std::optional<std::string>& directory) {
  RegistriesD registries;
  const auto path = directory ? directory : ConfiguredDirectory();
  if (!path) {
    return registries;
  }
  const Dir dir = Dir::Open(*path);
  size_t files = 0;
  for (const std::string& name : dir.List()) {
    if (!name.ends_with(".yaml")) {
      continue;
    }
    if (++files > kMaxRegistriesFiles) {
      Refuse(*path, "over " + std::to_string(kMaxRegistriesFiles) + " files");
    }
    const std::string file = *path + "/" + name;
    registries.Add(ReadFile(file, kMaxRegistriesFileBytes), file);
  }
  return registries;
}

std::optional<std::string> RegistriesD::Find(const image::DockerReference& name, bool staging) const {
  const auto pick = [staging](const Places& places) {
    return staging && !places.staging.empty() ? places.staging : places.lookaside;
  };
  for (const std::string& scope : ScopesOf(name)) {
    if (const auto at = scopes_.find(scope); at != scopes_.end() && !pick(at->second).empty()) {
      return pick(at->second);
    }
  }
  if (default_ && !pick(*default_).empty()) {
    return pick(*default_);
  }
  return std::nullopt;
}

std::vector<std::string> RegistriesD::LookasideFor(const image::DockerReference& name) const {
  return {Find(name, false).value_or(DefaultLookaside())};
}

std::vector<std::string> RegistriesD::ReadDirectories() const {
  std::set<std::string> bases{default_ && !default_->lookaside.empty() ? default_->lookaside : DefaultLookaside()};
  for (const auto& [scope, places] : scopes_) {
    bases.insert(places.lookaside);
  }
  std::vector<std::string> directories;
  for (const std::string& base : bases) {
    try {
      if (auto directory = LookasideDirectory(base)) {
        directories.push_back(*std::move(directory));
      }
    } catch (const Error&) {
      // A malformed one is refused when an image of its scope is asked for.
    }
  }
  return directories;
}

std::optional<std::string> RegistriesD::StagingFor(const image::DockerReference& name) const {
  return Find(name, true).value_or(DefaultLookaside());
}

}  // namespace gantry::sign
