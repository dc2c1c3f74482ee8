// Where images are really asked for: mirrors, other places, registries that are blocked or insecure, and what short
// names stand for (containers-registries.conf(5), version 2; version 1 is read, too).
//
// The name that the user wrote stays the name of the image: policies, signatures and the store know no other. Here it
// becomes the places to ask. Mirrors are for fetching only; whoever pushes or lists asks the registry itself.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/reference.h"

namespace gantry::image {

constexpr size_t kMaxRegistryEntries = 10'000;
constexpr size_t kMaxMirrors = 100;  // of one entry
constexpr size_t kMaxAliases = 100'000;
constexpr size_t kMaxSearchRegistries = 100;
constexpr size_t kMaxRegistriesConfFiles = 1000;

// One place to ask.
struct PullSource {
  DockerReference name;   // what the image is called there
  bool insecure = false;  // plain http, and certificates that nobody vouches for, are good enough there
  friend bool operator==(const PullSource&, const PullSource&) = default;
};

class RegistriesConf {
 public:
  // $CONTAINERS_REGISTRIES_CONF, else containers/registries.conf below $XDG_CONFIG_HOME (~/.config), else in /etc; over
  // it the *.conf files in /etc/containers/registries.conf.d and then in the user's, each directory by name; over that
  // the aliases that other tools wrote down (short-name-aliases.conf). Before any confinement. What does not exist is
  // empty.
  static RegistriesConf Load();

  // An empty one, and one more file over what is there: an entry replaces one of the same prefix, settings replace
  // settings, aliases those of their name. kCorrupt, with the place, for what the manual does not allow; keys that it
  // does not know are left alone. `what` names the file in errors.
  RegistriesConf() = default;
  void Add(std::string_view toml, const std::string& what);

  // The places for an image, in the order of trial; the last is where `name` itself leads. kRefused when it is blocked.
  std::vector<PullSource> SourcesOf(const DockerReference& name) const;

  // For all but fetching. Whether what `name` says may be insecure; kRefused when it is blocked.
  bool IsInsecure(const DockerReference& name) const;

  // What `text`, a name as users write it, may stand for, in the order of trial: itself, normalised, unless it is short
  // (without a registry's host). A short one is its alias, else an image in the registries to be searched, else, when
  // none are set, one of Docker Hub. kUsage when several may be meant and the mode is "enforcing".
  std::vector<DockerReference> Resolve(const std::string& text) const;

 private:
  enum class MirrorUse { kAll, kByDigest, kByTag };
  struct Place {
    std::string location;  // empty: as the name says
    bool insecure = false;
    MirrorUse use = MirrorUse::kAll;
  };
  struct Entry {
    std::string prefix;
    Place place;
    bool blocked = false;
    std::vector<Place> mirrors = {};
  };
  enum class Mode { kPermissive, kEnforcing, kDisabled };

  void AddEntry(const json::Cursor& table);
  void AddAliases(const json::Cursor& table);
  void AddVersion1(const json::Cursor& lists);
  void SetEntry(Entry entry);
  static Place ParsePlace(const json::Cursor& table);
  static Place ParseMirror(const json::Cursor& table, bool by_digest_only);
  const Entry* Find(const DockerReference& name) const;
  const Entry* FindAllowed(const DockerReference& name) const;

  std::vector<Entry> entries_;
  std::map<std::string, std::string> aliases_;
  std::vector<std::string> search_;
  Mode mode_ = Mode::kPermissive;
};

}  // namespace gantry::image
