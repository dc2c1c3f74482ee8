#include "serve/request.h"

#include <algorithm>

#include "libimage/base/error.h"
#include "libimage/model/aci_manifest.h"

namespace gantry::serve {
namespace {

constexpr size_t kMaxPathBytes = 4096;
constexpr std::string_view kFormMark = "--";
constexpr std::string_view kTransport = "docker://";

std::optional<image::DockerReference> TryParse(const std::string& text) {
  try {
    return image::DockerReference::Parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

// As a registry has it: no host in it, nothing but the path.
bool IsRepository(std::string_view name) {
  constexpr std::string_view kHost = "host.invalid";
  const auto parsed = TryParse(std::string(kHost) + "/" + std::string(name));
  return parsed && parsed->path == name && parsed->tag.empty() && !parsed->digest;
}

bool IsTag(std::string_view text) {
  const auto parsed = TryParse("host.invalid/x:" + std::string(text));
  return parsed && parsed->tag == text && !parsed->digest;
}

bool IsReference(std::string_view text) { return Digest::TryParse(text) || IsTag(text); }

// Cuts off what stands behind the last `mark` of `text`; nullopt when there is none, or nothing on one side.
std::optional<std::string_view> CutLast(std::string_view& text, std::string_view mark) {
  const size_t at = text.rfind(mark);
  if (at == std::string_view::npos || at == 0 || at + mark.size() == text.size())
    return std::nullopt;
  const std::string_view behind = text.substr(at + mark.size());
  text = text.substr(0, at);
  return behind;
}

// One word of a kind, once.
bool Take(std::string& place, std::string_view word) {
  const bool is_free = place.empty();
  place = word;
  return is_free;
}

}  // namespace

std::string Form::ToString() const {
  std::string out;
  for (const std::string& word : {manifest, compression, std::string(squashed ? "squashed" : "")}) {
    if (!word.empty())
      out += (out.empty() ? "" : "-") + word;
  }
  return out;
}

std::optional<Form> Form::Parse(std::string_view words) {
  Form form;
  for (size_t at = 0; at <= words.size();) {
    const size_t end = std::min(words.find('-', at), words.size());
    const std::string_view word = words.substr(at, end - at);
    const bool good = word == "oci" || word == "docker"      ? Take(form.manifest, word)
                      : word == "gzip" || word == "zstd"     ? Take(form.compression, word)
                      : word == "squashed" && !form.squashed ? (form.squashed = true)
                                                             : false;
    if (!good)
      return std::nullopt;
    at = end + 1;
  }
  return form;
}

std::string FormedName::ToString() const {
  return form.as_upstream() ? name : name + std::string(kFormMark) + form.ToString();
}

FormedName FormedName::Parse(std::string_view text) {
  std::string_view name = text;
  if (const auto words = CutLast(name, kFormMark)) {
    if (const auto form = Form::Parse(*words))
      return {std::string(name), *form};
  }
  return {std::string(text), {}};
}

void Upstreams::Add(const std::string& text) {
  const size_t at = text.find(kTransport);
  const bool named = at != std::string::npos && at > 1 && text[at - 1] == '=';
  if (at == std::string::npos || (at != 0 && !named)) {
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no upstream",
                "write docker://HOST[:PORT][/PATH], or PREFIX=docker://HOST[:PORT][/PATH]");
  }
  Upstream upstream;
  upstream.prefix = named ? text.substr(0, at - 1) + "/" : "";
  if (named && !IsRepository(text.substr(0, at - 1)))
    throw Error(ErrorKind::kUsage, Quoted(text) + ": the prefix is no name of repositories");
  std::string place = text.substr(at + kTransport.size());
  if (place.ends_with('/'))
    place.pop_back();
  const auto parsed = TryParse(place + "/x/x");
  if (!parsed || !parsed->tag.empty() || parsed->digest || !place.starts_with(parsed->host))
    throw Error(ErrorKind::kUsage, Quoted(text) + " names no registry", "write docker://HOST[:PORT][/PATH]");
  upstream.host = parsed->host;
  upstream.path = parsed->path.substr(0, parsed->path.size() - 3);
  const auto same = [&](const Upstream& other) { return other.prefix == upstream.prefix; };
  if (std::any_of(all_.begin(), all_.end(), same))
    throw Error(ErrorKind::kUsage, Quoted(text) + ": there is an upstream for these names already",
                "give each but one a PREFIX= of its own");
  if (all_.size() == kMaxUpstreams)
    throw Error(ErrorKind::kUsage, "more than " + std::to_string(kMaxUpstreams) + " upstreams");
  all_.push_back(std::move(upstream));
  std::stable_sort(all_.begin(), all_.end(),
                   [](const Upstream& a, const Upstream& b) { return a.prefix.size() > b.prefix.size(); });
}

std::optional<image::DockerReference> Upstreams::Find(std::string_view name, std::string_view reference) const {
  if (!IsRepository(name) || !IsReference(reference))
    return std::nullopt;
  const auto found = std::find_if(all_.begin(), all_.end(),
                                  [&](const Upstream& upstream) { return name.starts_with(upstream.prefix); });
  if (found == all_.end() || name.size() == found->prefix.size())
    return std::nullopt;
  const std::string rest(name.substr(found->prefix.size()));
  const char* const mark = Digest::TryParse(reference) ? "@" : ":";
  auto parsed = TryParse(found->host + "/" + found->path + rest + mark + std::string(reference));
  if (!parsed || parsed->host != found->host)
    return std::nullopt;
  return parsed;
}

std::optional<AciRequest> AciRequest::Parse(std::string_view path, const std::string& host,
                                            const std::optional<std::string>& version) {
  if (!path.starts_with('/') || path.size() > kMaxPathBytes)
    return std::nullopt;
  AciRequest out;
  std::string_view rest = path.substr(1);
  for (const std::string_view extension : {".aci.asc", ".aci"}) {
    if (!rest.ends_with(extension))
      continue;
    out.signature = extension != ".aci";
    rest.remove_suffix(extension.size());
    break;
  }
  if (rest.size() + 1 == path.size())
    return std::nullopt;
  const auto arch = CutLast(rest, "-");
  const auto os = arch ? CutLast(rest, "-") : std::nullopt;
  const auto machine = arch ? image::FromAppcArch(*arch) : std::nullopt;
  if (!os || !machine || *os != "linux")
    return std::nullopt;
  out.platform = {.os = "linux", .architecture = machine->first, .variant = machine->second};
  if (version) {
    if (!rest.ends_with("-" + *version))
      return std::nullopt;
    out.version = *version;
    rest.remove_suffix(version->size() + 1);
  } else {
    const auto last = CutLast(rest, "-");
    if (!last)
      return std::nullopt;
    out.version = *last;
  }
  if (rest.starts_with(host + "/"))
    rest.remove_prefix(host.size() + 1);
  out.repository = rest;
  out.name = host + "/" + out.repository;
  if (!IsRepository(out.repository) || !IsTag(out.version) || !image::IsAcIdentifier(out.name))
    return std::nullopt;
  return out;
}

std::string HostOf(const std::string& url) {
  const size_t begin = url.find("://");
  std::string host = url.substr(begin == std::string::npos ? 0 : begin + 3);
  if (const size_t colon = host.rfind(':'); colon != std::string::npos && host.back() != ']')
    host.resize(colon);
  return host;
}

std::optional<RegistryRequest> RegistryRequest::Parse(std::string_view path) {
  constexpr std::string_view kBase = "/v2/";
  if (path == kBase || path == "/v2")
    return RegistryRequest{};
  if (!path.starts_with(kBase) || path.size() > kMaxPathBytes)
    return std::nullopt;
  std::string_view rest = path.substr(kBase.size());
  RegistryRequest out;
  if (rest.ends_with("/tags/list")) {
    out.kind = Kind::kTags;
    out.name = rest.substr(0, rest.size() - std::string_view("/tags/list").size());
    return IsRepository(out.name) ? std::optional(out) : std::nullopt;
  }
  const auto reference = CutLast(rest, "/");
  const auto kind = reference ? CutLast(rest, "/") : std::nullopt;
  if (!kind)
    return std::nullopt;
  out.name = rest;
  out.reference = *reference;
  if (*kind == "manifests")
    out.kind = Kind::kManifest;
  else if (*kind == "blobs")
    out.kind = Kind::kBlob;
  else if (*kind == "referrers")
    out.kind = Kind::kReferrers;
  else
    return std::nullopt;
  const bool good =
      out.kind == Kind::kManifest ? IsReference(out.reference) : Digest::TryParse(out.reference).has_value();
  return good && IsRepository(out.name) ? std::optional(out) : std::nullopt;
}

}  // namespace gantry::serve
