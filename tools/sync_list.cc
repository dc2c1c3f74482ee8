#include "tools/sync_list.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/base/pattern.h"
#include "libimage/base/yaml.h"
#include "libimage/model/version_range.h"

namespace gantry::tools {
namespace {

void Append(SyncEntry entry, const std::string& what, SyncList& into) {
  if (into.entries.size() == kMaxSyncImages)
    throw Error(ErrorKind::kCorrupt, what + ": more than " + std::to_string(kMaxSyncImages) + " images");
  into.entries.push_back(std::move(entry));
}

bool IsTrue(const json::Cursor& flag) {
  const std::string text = LowerAscii(flag.String());
  if (text == "true" || text == "yes" || text == "on")
    return true;
  if (text != "false" && text != "no" && text != "off")
    flag.Fail("expected true or false");
  return false;
}

// An image of the registry; the error says where.
image::DockerReference NameIn(const std::string& host, const std::string& image, const std::string& selector,
                              const json::Cursor& at) {
  try {
    image::DockerReference name = image::DockerReference::Parse(host + "/" + image + selector);
    if (name.host == host || (host == "index.docker.io" && name.host == "docker.io"))
      return name;
  } catch (const Error& error) {
    at.Fail(error.message() + ", " + error.hint());
  }
  at.Fail(Quoted(host) + " is no host of a registry");
}

void AddImages(const std::string& host, const json::Cursor& images, const std::string& what, SyncList& into) {
  for (const auto& [image, list] : images.Members(kMaxSyncImages)) {
    const bool all = list.value().is_null() || (list.value().array() != nullptr && list.value().array()->empty());
    if (all)
      Append({NameIn(host, image, "", list)}, what, into);
    for (const json::Cursor& one : all ? std::vector<json::Cursor>() : list.Elements(kMaxSyncImages)) {
      const bool digest = Digest::TryParse(one.String()).has_value();
      Append({NameIn(host, image, (digest ? "@" : ":") + one.String(), one)}, what, into);
    }
  }
}

void AddFiltered(const std::string& host, const json::Cursor& images, const std::string& what,
                 const std::function<TagFilter(const std::string&)>& make, SyncList& into) {
  for (const auto& [image, expression] : images.Members(kMaxSyncImages)) {
    try {
      Append({NameIn(host, image, "", expression), make(expression.String()), expression.String()}, what, into);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kUsage)
        throw;
      expression.Fail(error.message());
    }
  }
}

TagFilter ByPattern(const std::string& expression) {
  return [pattern = TextPattern(expression)](const std::string& tag) { return pattern.Matches(tag); };
}

TagFilter ByVersion(const std::string& expression) {
  return [range = image::VersionRange::Parse(expression)](const std::string& tag) {
    const auto version = image::Version::Parse(tag);
    return version && range.Contains(*version);
  };
}

RegistrySettings ParseSettings(const json::Cursor& registry) {
  RegistrySettings settings;
  if (const auto credentials = registry.Find("credentials")) {
    credentials->OnlyKeys({"username", "password"});
    const auto password = credentials->Find("password");
    settings.credentials = image::Credentials{.username = credentials->At("username").String(),
                                              .password = password ? password->String() : ""};
  }
  if (const auto verify = registry.Find("tls-verify"))
    settings.verify_tls = IsTrue(*verify);
  if (const auto directory = registry.Find("cert-dir"))
    settings.certificates = directory->String();
  return settings;
}

}  // namespace

SyncEntry ParseSyncName(const std::string& text) {
  constexpr std::string_view kTransport = "docker://";
  return {image::DockerReference::Parse(text.starts_with(kTransport) ? text.substr(kTransport.size()) : text)};
}

void AddLines(std::string_view text, const std::string& what, SyncList& into) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string line(Trimmed(text.substr(0, std::min(end, text.find('#')))));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty())
      continue;
    try {
      Append(ParseSyncName(line), what, into);
    } catch (const Error& error) {
      throw error.WithContext(what + ": line " + std::to_string(number));
    }
  }
}

void AddYaml(std::string_view text, const std::string& what, SyncList& into) {
  const json::Value document = ParseYaml(text, what);
  for (const auto& [host, registry] : json::Cursor(document, what).Members(kMaxSyncImages)) {
    registry.OnlyKeys({"images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify", "cert-dir"});
    if (const auto images = registry.Find("images"))
      AddImages(host, *images, what, into);
    if (const auto images = registry.Find("images-by-tag-regex"))
      AddFiltered(host, *images, what, ByPattern, into);
    if (const auto images = registry.Find("images-by-semver"))
      AddFiltered(host, *images, what, ByVersion, into);
    into.registries[host] = ParseSettings(registry);
  }
}

}  // namespace gantry::tools
