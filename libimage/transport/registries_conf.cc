#include "libimage/transport/registries_conf.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/toml.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxLocationBytes = 512;
constexpr const char* kSystemFile = "/etc/containers/registries.conf";

std::optional<std::string> Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

std::optional<std::string> UserDirectory(const char* variable, const char* below_home) {
  if (auto directory = Environment(variable))
    return *directory + "/containers";
  if (const auto home = Environment("HOME"))
    return *home + below_home + "/containers";
  return std::nullopt;
}

// nullopt when there is none.
std::optional<std::string> ReadIfThere(const std::string& file) {
  try {
    return ReadFile(file, kMaxTomlBytes);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
    return std::nullopt;
  }
}

std::vector<std::string> DropIns(const std::string& directory) {
  std::vector<std::string> files;
  try {
    for (const std::string& name : Dir::Open(directory).List()) {
      if (name.ends_with(".conf"))
        files.push_back(directory + "/" + name);
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Whether `text` goes on after `size` bytes with a new part of a name. Ports are parts of hosts, so after a host alone
// only a path may follow.
bool EndsPart(std::string_view text, size_t size) {
  if (text.size() == size)
    return true;
  const bool host_only = text.substr(0, size).find('/') == std::string_view::npos;
  return text[size] == '/' || (!host_only && (text[size] == ':' || text[size] == '@'));
}

// How many bytes of `name` a prefix stands for; nullopt when it is not one of it. "*.host" is any host below that one.
std::optional<size_t> MatchedBytes(std::string_view name, std::string_view prefix) {
  if (!prefix.starts_with("*.")) {
    if (name.starts_with(prefix) && EndsPart(name, prefix.size()))
      return prefix.size();
    return std::nullopt;
  }
  const std::string_view suffix = prefix.substr(1);
  const std::string_view host = name.substr(0, name.find('/'));
  if (host.size() > suffix.size() && host.ends_with(suffix))
    return host.size();
  return std::nullopt;
}

// A host, or the beginning of a name, as `location` and `prefix` have it.
std::string ParseLocation(const json::Cursor& text) {
  std::string location = text.String(kMaxLocationBytes);
  while (location.ends_with('/')) location.pop_back();
  if (location.find("://") != std::string::npos)
    text.Fail("expected a host or the beginning of a name, without " + Quoted("https://"));
  const std::string_view plain =
      std::string_view(location).starts_with("*.") ? std::string_view(location).substr(2) : std::string_view(location);
  const bool odd = std::any_of(plain.begin(), plain.end(), [](unsigned char c) {
    return !((c < 0x80 && isalnum(c) != 0) ||
             std::string_view("._-:/@[]").find(static_cast<char>(c)) != std::string_view::npos);
  });
  if (odd)
    text.Fail("expected a host or the beginning of a name");
  return location;
}

bool FlagOf(const json::Cursor& table, std::string_view key) {
  const auto flag = table.Find(key);
  return flag && flag->Bool();
}

// `text` without a tag and a digest.
std::string_view WithoutSelectors(std::string_view text) {
  text = text.substr(0, text.find('@'));
  const size_t slash = text.rfind('/');
  const size_t colon = text.find(':', slash == std::string_view::npos ? 0 : slash);
  return text.substr(0, colon);
}

// Whether a name begins with a host, by Docker's rules.
bool HasHost(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view first = text.substr(0, slash);
  return slash != std::string_view::npos &&
         (first == "localhost" || first.find_first_of(".:[") != std::string_view::npos);
}

}  // namespace

RegistriesConf RegistriesConf::Load() {
  RegistriesConf conf;
  const auto add = [&](const std::string& file) {
    const auto text = ReadIfThere(file);
    if (text)
      conf.Add(*text, Quoted(file));
    return text.has_value();
  };
  const auto user = UserDirectory("XDG_CONFIG_HOME", "/.config");
  if (const auto chosen = Environment("CONTAINERS_REGISTRIES_CONF"))
    conf.Add(ReadFile(*chosen, kMaxTomlBytes), Quoted(*chosen));
  else if (!user || !add(*user + "/registries.conf"))
    add(kSystemFile);
  std::vector<std::string> files = DropIns(std::string(kSystemFile) + ".d");
  for (const std::string& file : user ? DropIns(*user + "/registries.conf.d") : std::vector<std::string>())
    files.push_back(file);
  if (files.size() > kMaxRegistriesConfFiles)
    throw Error(ErrorKind::kCorrupt, "more than " + std::to_string(kMaxRegistriesConfFiles) + " files for registries");
  for (const std::string& file : files) add(file);
  const auto cache =
      geteuid() == 0 ? std::optional<std::string>("/var/cache/containers") : UserDirectory("XDG_CACHE_HOME", "/.cache");
  if (cache)
    add(*cache + "/short-name-aliases.conf");
  return conf;
}

void RegistriesConf::Add(std::string_view toml, const std::string& what) {
  const json::Value document = ParseToml(toml, what);
  const json::Cursor root(document, what);
  const auto version2 = root.Find("registry");
  const auto version1 = root.Find("registries");
  const auto search = root.Find("unqualified-search-registries");
  if (version1) {
    if (version2 || search)
      version1->Fail("is of version 1 of the format, which does not mix with version 2 in one file");
    AddVersion1(*version1);
  }
  if (search)
    search_ = search->Strings(kMaxSearchRegistries);
  if (const auto mode = root.Find("short-name-mode")) {
    const std::string& text = mode->String();
    if (text == "enforcing")
      mode_ = Mode::kEnforcing;
    else if (text == "disabled")
      mode_ = Mode::kDisabled;
    else if (text == "permissive" || text.empty())
      mode_ = Mode::kPermissive;
    else
      mode->Fail("expected enforcing, permissive or disabled");
  }
  for (const json::Cursor& table : version2 ? version2->Elements(kMaxRegistryEntries) : std::vector<json::Cursor>())
    AddEntry(table);
  if (const auto aliases = root.Find("aliases"))
    AddAliases(*aliases);
}

RegistriesConf::Place RegistriesConf::ParsePlace(const json::Cursor& table) {
  Place place{.insecure = FlagOf(table, "insecure")};
  if (const auto location = table.Find("location"))
    place.location = ParseLocation(*location);
  return place;
}

RegistriesConf::Place RegistriesConf::ParseMirror(const json::Cursor& table, bool by_digest_only) {
  Place mirror = ParsePlace(table);
  if (mirror.location.empty() || mirror.location.starts_with("*."))
    table.Fail("a mirror needs a location");
  if (by_digest_only)
    mirror.use = MirrorUse::kByDigest;
  const auto use = table.Find("pull-from-mirror");
  if (!use || use->String().empty())
    return mirror;
  if (by_digest_only)
    use->Fail("goes not with mirror-by-digest-only");
  if (use->String() == "digest-only")
    mirror.use = MirrorUse::kByDigest;
  else if (use->String() == "tag-only")
    mirror.use = MirrorUse::kByTag;
  else if (use->String() != "all")
    use->Fail("expected all, digest-only or tag-only");
  return mirror;
}

void RegistriesConf::AddEntry(const json::Cursor& table) {
  Entry entry{.place = ParsePlace(table), .blocked = FlagOf(table, "blocked")};
  const auto prefix = table.Find("prefix");
  entry.prefix = prefix ? ParseLocation(*prefix) : "";
  if (entry.prefix.empty())
    entry.prefix = entry.place.location;
  const bool wildcard = entry.prefix.starts_with("*.");
  if (entry.prefix.empty() || (entry.place.location.empty() && !wildcard))
    table.Fail("a registry needs a location");
  if (entry.place.location.starts_with("*."))
    table.Fail("a location is one place: '*.' is for prefixes");
  if (wildcard && entry.prefix.find_first_of("/:@", 2) != std::string::npos)
    table.Fail("after '*.' comes a host, and nothing else");
  const bool by_digest_only = FlagOf(table, "mirror-by-digest-only");
  if (const auto mirrors = table.Find("mirror")) {
    for (const json::Cursor& mirror : mirrors->Elements(kMaxMirrors))
      entry.mirrors.push_back(ParseMirror(mirror, by_digest_only));
  }
  SetEntry(std::move(entry));
}

void RegistriesConf::SetEntry(Entry entry) {
  const auto same =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& old) { return old.prefix == entry.prefix; });
  if (same != entries_.end())
    *same = std::move(entry);
  else
    entries_.push_back(std::move(entry));
}

// An empty value takes an alias back.
void RegistriesConf::AddAliases(const json::Cursor& table) {
  for (const auto& [name, value] : table.Members(kMaxAliases)) {
    const std::string& full = value.String(kMaxLocationBytes);
    if (HasHost(name) || WithoutSelectors(name) != name)
      value.Fail(Quoted(name) + " is no short name: it has a host, a tag or a digest");
    if (full.empty()) {
      aliases_.erase(name);
      continue;
    }
    const bool whole = HasHost(full) && WithoutSelectors(full) == full && DockerReference::Parse(full).path.size() > 0;
    if (!whole)
      value.Fail("expected a name with its host, without a tag or a digest");
    aliases_[name] = full;
  }
}

void RegistriesConf::AddVersion1(const json::Cursor& lists) {
  const auto list = [&](std::string_view name) {
    const auto table = lists.Find(name);
    const auto registries = table ? table->Find("registries") : std::nullopt;
    return registries ? registries->Elements(kMaxRegistryEntries) : std::vector<json::Cursor>();
  };
  std::map<std::string, Entry> entries;
  const auto entry = [&](const json::Cursor& text) -> Entry& {
    const std::string location = ParseLocation(text);
    if (location.empty())
      text.Fail("expected a registry");
    Entry& found = entries[location];
    found.prefix = found.place.location = location;
    return found;
  };
  for (const json::Cursor& registry : list("insecure")) entry(registry).place.insecure = true;
  for (const json::Cursor& registry : list("block")) entry(registry).blocked = true;
  for (auto& [location, made] : entries) SetEntry(std::move(made));
  std::vector<std::string> search;
  for (const json::Cursor& registry : list("search")) search.push_back(ParseLocation(registry));
  if (search.size() > kMaxSearchRegistries)
    lists.Fail("more than " + std::to_string(kMaxSearchRegistries) + " registries to search");
  if (!search.empty())
    search_ = std::move(search);
}

const RegistriesConf::Entry* RegistriesConf::Find(const DockerReference& name) const {
  const std::string text = name.ToString();
  const Entry* best = nullptr;
  for (const Entry& entry : entries_) {
    if (MatchedBytes(text, entry.prefix) && (best == nullptr || entry.prefix.size() > best->prefix.size()))
      best = &entry;
  }
  return best;
}

const RegistriesConf::Entry* RegistriesConf::FindAllowed(const DockerReference& name) const {
  const Entry* entry = Find(name);
  if (entry != nullptr && entry->blocked) {
    throw Error(ErrorKind::kRefused, Quoted(name.ToString()) + " is blocked by the configuration of registries",
                "'blocked' is set for " + Quoted(entry->prefix) + " in registries.conf");
  }
  return entry;
}

std::vector<PullSource> RegistriesConf::SourcesOf(const DockerReference& name) const {
  const Entry* entry = FindAllowed(name);
  if (entry == nullptr)
    return std::vector{PullSource{name}};
  const std::string text = name.ToString();
  const std::string rest = text.substr(*MatchedBytes(text, entry->prefix));
  const auto at = [&](const Place& place) {
    if (place.location.empty())
      return PullSource{name, place.insecure};
    const std::string there = place.location + rest;
    const DockerReference moved = DockerReference::Parse(there);
    const bool same = moved.ToString() == there && moved.digest == name.digest;
    if (!same) {
      throw Error(ErrorKind::kCorrupt,
                  "registries.conf makes " + Quoted(there) + " of " + Quoted(text) + ", which is no whole name",
                  "a location begins with the host of a registry: HOST[:PORT]/...");
    }
    return PullSource{moved, place.insecure};
  };
  std::vector<PullSource> sources;
  for (const Place& mirror : entry->mirrors) {
    const bool fits = mirror.use == MirrorUse::kAll || (mirror.use == MirrorUse::kByDigest) == name.digest.has_value();
    if (fits)
      sources.push_back(at(mirror));
  }
  sources.push_back(at(entry->place));
  return sources;
}

bool RegistriesConf::IsInsecure(const DockerReference& name) const {
  const Entry* entry = FindAllowed(name);
  return entry != nullptr && entry->place.insecure;
}

std::vector<DockerReference> RegistriesConf::Resolve(const std::string& text) const {
  const DockerReference plain = DockerReference::Parse(text);
  if (HasHost(text))
    return {plain};
  const std::string bare(WithoutSelectors(text));
  if (const auto alias = aliases_.find(bare); alias != aliases_.end())
    return {DockerReference::Parse(alias->second + text.substr(bare.size()))};
  if (search_.empty())
    return {plain};
  std::vector<DockerReference> found;
  std::string shown;
  for (const std::string& registry : search_) {
    found.push_back(DockerReference::Parse(registry + "/" + text));
    shown += (shown.empty() ? "" : ", ") + found.back().ToString();
  }
  if (found.size() > 1 && mode_ == Mode::kEnforcing) {
    throw Error(ErrorKind::kUsage, Quoted(text) + " may be an image of any of several registries",
                "write which: " + shown + "; or give it an alias in registries.conf");
  }
  return found;
}

}  // namespace gantry::image
