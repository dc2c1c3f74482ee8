#include "libsign/requirement.h"

#include <algorithm>
#include <array>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/policy.h"
#include "libsign/time_text.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using Type = Requirement::Type;

struct TypeName {
  Type type;
  std::string_view name;
};
constexpr std::array kTypes = {
    TypeName{Type::kInsecureAcceptAnything, "insecureAcceptAnything"},
    TypeName{Type::kReject, "reject"},
    TypeName{Type::kSignedBy, "signedBy"},
    TypeName{Type::kSignedBaseLayer, "signedBaseLayer"},
    TypeName{Type::kSigstoreSigned, "sigstoreSigned"},
    TypeName{Type::kNotationSigned, "notationSigned"},
    TypeName{Type::kAppcSigned, "appcSigned"},
    TypeName{Type::kIdentitySigned, "identitySigned"},
    TypeName{Type::kAnyOf, "anyOf"},
    TypeName{Type::kThreshold, "threshold"},
};

DockerReference ParseReference(const json::Cursor& from) {
  try {
    return DockerReference::Parse(from.String(4096));
  } catch (const Error& error) {
    from.Fail(error.message());
  }
}

bool NamesOnly(const DockerReference& reference) { return reference.tag.empty() && !reference.digest; }

// "host", or "host/path" in full, without tag or digest: with one more component it must be a normalised name.
std::string ParsePrefix(const json::Cursor& from) {
  const std::string& prefix = from.String(4096);
  try {
    if (DockerReference::Parse(prefix + "/x").Repository() == prefix + "/x") {
      return prefix;
    }
  } catch (const Error&) {
  }
  from.Fail("expected HOST[:PORT][/PATH] in full, without tag or digest");
}

// What the signature must be named when the image is asked for as `asked`.
bool AllowsRepoDigestOrExact(const DockerReference& asked, const DockerReference& signed_as) {
  if (NamesOnly(signed_as)) {
    return false;
  }
  return asked.digest ? signed_as.Repository() == asked.Repository() : signed_as == asked;
}

std::optional<DockerReference> Remap(const DockerReference& asked, const std::string& prefix,
                                     const std::string& signed_prefix) {
  const std::string repository = asked.Repository();
  if (!repository.starts_with(prefix) || (repository.size() > prefix.size() && repository[prefix.size()] != '/')) {
    return asked;
  }
  try {
    return DockerReference::Parse(signed_prefix + asked.ToString().substr(prefix.size()));
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::vector<std::string> ParsePaths(const json::Cursor& from) {
  std::vector<std::string> paths = from.Strings(kMaxKeyPaths);
  if (paths.empty()) {
    from.Fail("expected at least one path");
  }
  return paths;
}

// An object's member, null or not: null is as wrong as any other type here.
bool Has(const json::Cursor& from, std::string_view key) { return from.value().object()->Find(key) != nullptr; }

// The one of `keys` that is there; nullopt when none is. Several are an error.
std::optional<std::string_view> OneOf(const json::Cursor& from, std::initializer_list<std::string_view> keys) {
  std::optional<std::string_view> found;
  std::string list;
  for (const std::string_view key : keys) {
    list += (list.empty() ? "" : ", ") + std::string(key);
    if (Has(from, key)) {
      if (found) {
        from.Fail("expected only one of " + list);
      }
      found = key;
    }
  }
  return found;
}

std::string ParseData(const json::Cursor& from) {
  auto data = DecodeBase64(from.String());
  if (!data || data->empty()) {
    from.Fail("expected base64");
  }
  return *std::move(data);
}

// keyPath and its like, into `requirement`.
void ParseKeys(const json::Cursor& from, std::string_view member, Requirement& requirement) {
  const json::Cursor keys = from.At(member);
  if (member == "keyPath") {
    requirement.key_paths = {keys.String()};
  } else if (member == "keyPaths") {
    requirement.key_paths = ParsePaths(keys);
  } else if (member == "keyData") {
    requirement.key_datas = {ParseData(keys)};
  } else {
    for (const json::Cursor& one : keys.Elements(kMaxKeyPaths)) {
      requirement.key_datas.push_back(ParseData(one));
    }
    if (requirement.key_datas.empty()) {
      keys.Fail("expected at least one key");
    }
  }
}

// What all requirements of a signature have in common.
void ParseCommon(const json::Cursor& from, Requirement& requirement) {
  if (Has(from, "signedIdentity")) {
    requirement.identity = IdentityRule::Parse(from.At("signedIdentity"));
  }
  if (Has(from, "notBefore")) {
    requirement.not_before = ParseRfc3339(from.At("notBefore").String());
    if (!requirement.not_before) {
      from.At("notBefore").Fail("expected a time like 2026-11-25T18:00:00Z");
    }
  }
  if (Has(from, "neverOlder")) {
    requirement.never_older = from.At("neverOlder").Bool();
  }
}

void ParseAlgorithm(const json::Cursor& from, Requirement& requirement) {
  if (Has(from, "algorithm")) {
    requirement.algorithm = Scheme::Parse(from.At("algorithm").String());
    if (!requirement.algorithm) {
      from.At("algorithm").Fail("unknown algorithm");
    }
  }
}

Requirement ParseSignedBy(const json::Cursor& from) {
  from.OnlyKeys({"type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity", "notBefore", "neverOlder"});
  Requirement requirement{.type = Type::kSignedBy, .key_type = from.At("keyType").String()};
  constexpr std::array<std::string_view, 4> kKnown = {"GPGKeys", "signedByGPGKeys", "X509Certificates",
                                                      "signedByX509CAs"};
  if (std::find(kKnown.begin(), kKnown.end(), requirement.key_type) == kKnown.end()) {
    from.At("keyType").Fail("unknown key type " + Quoted(requirement.key_type));
  }
  const auto source = OneOf(from, {"keyPath", "keyPaths", "keyData"});
  if (!source) {
    from.Fail("expected exactly one of keyPath, keyPaths and keyData");
  }
  ParseKeys(from, *source, requirement);
  ParseCommon(from, requirement);
  return requirement;
}

// With a trusted root the authorities are those that it lists, and a subject may be of any kind.
void CheckFulcio(const json::Cursor& from, bool trusted_root) {
  if (trusted_root) {
    from.OnlyKeys({"oidcIssuer", "subjectEmail", "subject"});
    if (!OneOf(from, {"subjectEmail", "subject"}) || !Has(from, "oidcIssuer")) {
      from.Fail("expected oidcIssuer, and subjectEmail or subject");
    }
    return;
  }
  from.OnlyKeys({"caPath", "caData", "oidcIssuer", "subjectEmail"});
  if (!OneOf(from, {"caPath", "caData"}) || !Has(from, "oidcIssuer") || !Has(from, "subjectEmail")) {
    from.Fail("expected caPath or caData, oidcIssuer and subjectEmail");
  }
}

void CheckPki(const json::Cursor& from) {
  from.OnlyKeys(
      {"caRootsPath", "caRootsData", "caIntermediatesPath", "caIntermediatesData", "subjectEmail", "subjectHostname"});
  static_cast<void>(OneOf(from, {"caIntermediatesPath", "caIntermediatesData"}));
  if (!OneOf(from, {"caRootsPath", "caRootsData"}) || (!Has(from, "subjectEmail") && !Has(from, "subjectHostname"))) {
    from.Fail("expected caRootsPath or caRootsData, and subjectEmail or subjectHostname");
  }
}

// The files that libsign/check_certificates.cc reads.
void AddAuthorityPaths(const json::Cursor& from, Requirement& requirement) {
  std::vector<std::string>& paths = requirement.authority_paths;
  for (const std::string_view list : {"rekorPublicKeyPaths", "timestampAuthorityPaths"}) {
    if (const auto several = from.Find(list)) {
      const std::vector<std::string> more = ParsePaths(*several);
      paths.insert(paths.end(), more.begin(), more.end());
    }
  }
  const auto add = [&paths](const json::Cursor& object, std::string_view key) {
    if (const auto path = object.Find(key)) {
      paths.push_back(path->String());
    }
  };
  add(from, "rekorPublicKeyPath");
  add(from, "trustedRootPath");
  add(from, "timestampAuthorityPath");
  if (const auto fulcio = from.Find("fulcio")) {
    add(*fulcio, "caPath");
  }
  if (const auto pki = from.Find("pki")) {
    add(*pki, "caRootsPath");
    add(*pki, "caIntermediatesPath");
  }
}

// What beside the signer is named: nothing, or logs, authorities and where they come from.
bool CheckInstance(const json::Cursor& from, std::string_view source) {
  const auto log = OneOf(from, {"rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData",
                                "rekorPublicKeyDatas", "trustedRootPath", "trustedRootData"});
  const auto timestamps = OneOf(from, {"timestampAuthorityPath", "timestampAuthorityPaths", "timestampAuthorityData"});
  if (source == "fulcio" && !log) {
    from.Fail("expected the key of a log or a trusted root beside fulcio");
  }
  if (source == "pki" && (log || timestamps)) {
    from.Fail("expected no log and no other authority beside pki");
  }
  if (source != "fulcio" && timestamps) {
    from.Fail("expected no timestamp authority without fulcio: a bare key signs at any time");
  }
  return log.has_value();
}

Requirement ParseSigstoreSigned(const json::Cursor& from) {
  from.OnlyKeys({"type",
                 "keyPath",
                 "keyPaths",
                 "keyData",
                 "keyDatas",
                 "fulcio",
                 "pki",
                 "rekorPublicKeyPath",
                 "rekorPublicKeyPaths",
                 "rekorPublicKeyData",
                 "rekorPublicKeyDatas",
                 "trustedRootPath",
                 "trustedRootData",
                 "timestampAuthorityPath",
                 "timestampAuthorityPaths",
                 "timestampAuthorityData",
                 "signedIdentity",
                 "algorithm",
                 "notBefore",
                 "neverOlder"});
  Requirement requirement{.type = Type::kSigstoreSigned};
  const auto source = OneOf(from, {"keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki"});
  if (!source) {
    from.Fail("expected one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki");
  }
  const bool instance = CheckInstance(from, *source);
  if (*source == "fulcio") {
    CheckFulcio(from.At("fulcio"), Has(from, "trustedRootPath") || Has(from, "trustedRootData"));
  } else if (*source == "pki") {
    CheckPki(from.At("pki"));
  } else {
    ParseKeys(from, *source, requirement);
  }
  if (*source == "pki" || instance) {
    requirement.certificates = from.value();
    AddAuthorityPaths(from, requirement);
  }
  ParseCommon(from, requirement);
  ParseAlgorithm(from, requirement);
  if (requirement.algorithm && (*source == "fulcio" || *source == "pki")) {
    from.At("algorithm").Fail("expected none beside " + std::string(*source));
  }
  return requirement;
}

// Where the policy and the trust stores of notation lie.
Requirement ParseNotationSigned(const json::Cursor& from) {
  from.OnlyKeys({"type", "directory"});
  Requirement requirement{.type = Type::kNotationSigned};
  if (Has(from, "directory")) {
    requirement.authority_paths = {from.At("directory").String(4096)};
  } else if (const auto directory = UserConfigDirectory()) {
    requirement.authority_paths = {*directory + "/notation"};
  } else {
    from.Fail("expected directory, as there is no home directory");
  }
  if (!requirement.authority_paths.front().starts_with('/')) {
    from.Fail("expected an absolute directory");
  }
  return requirement;
}

Requirement ParseIdentitySigned(const json::Cursor& from) {
  from.OnlyKeys(
      {"type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity", "algorithm", "notBefore", "neverOlder"});
  Requirement requirement{.type = Type::kIdentitySigned};
  const auto source = OneOf(from, {"keyPath", "keyPaths", "keyData", "keyDatas"});
  if (!source) {
    from.Fail("expected one of keyPath, keyPaths, keyData and keyDatas");
  }
  ParseKeys(from, *source, requirement);
  ParseCommon(from, requirement);
  ParseAlgorithm(from, requirement);
  return requirement;
}

Requirement ParseAppcSigned(const json::Cursor& from) {
  from.OnlyKeys({"type", "keyPath", "keyPaths", "keyData", "keyDatas", "notBefore", "neverOlder"});
  Requirement requirement{.type = Type::kAppcSigned};
  if (const auto source = OneOf(from, {"keyPath", "keyPaths", "keyData", "keyDatas"})) {
    ParseKeys(from, *source, requirement);
  }
  ParseCommon(from, requirement);
  return requirement;
}

Requirement ParseParts(const json::Cursor& from, Type type, size_t depth) {
  if (depth >= kMaxRequirementDepth) {
    from.Fail("too deep");
  }
  Requirement requirement{.type = type};
  if (type == Type::kThreshold) {
    from.OnlyKeys({"type", "count", "requirements"});
    requirement.count = from.At("count").Unsigned(kMaxKeyPaths);
    if (requirement.count == 0) {
      from.At("count").Fail("expected at least 1");
    }
  } else {
    from.OnlyKeys({"type", "requirements"});
  }
  requirement.parts = Requirement::ParseList(from.At("requirements"), depth + 1);
  return requirement;
}

}  // namespace

std::string_view Requirement::Name() const {
  return std::find_if(kTypes.begin(), kTypes.end(), [this](const TypeName& row) { return row.type == type; })->name;
}

std::vector<PublicKey> Requirement::OpenKeys() const {
  std::vector<PublicKey> keys;
  for (const std::string& path : key_paths) {
    keys.push_back(PublicKey::Parse(ReadFile(path, kMaxPublicKeyBytes), Quoted(path)));
  }
  for (const std::string& data : key_datas) {
    keys.push_back(PublicKey::Parse(data, "keyData"));
  }
  return keys;
}

void Requirement::AddKeyPaths(std::set<std::string>& to) const {
  to.insert(key_paths.begin(), key_paths.end());
  to.insert(authority_paths.begin(), authority_paths.end());
  for (const Requirement& part : parts) {
    part.AddKeyPaths(to);
  }
}

bool Requirement::WantsAttachments() const {
  return type == Type::kSigstoreSigned || type == Type::kIdentitySigned || type == Type::kNotationSigned ||
         std::any_of(parts.begin(), parts.end(), [](const Requirement& part) { return part.WantsAttachments(); });
}

bool Requirement::WantsIdentities() const {
  return type == Type::kIdentitySigned ||
         std::any_of(parts.begin(), parts.end(), [](const Requirement& part) { return part.WantsIdentities(); });
}

bool Requirement::WantsNewest() const {
  return never_older ||
         std::any_of(parts.begin(), parts.end(), [](const Requirement& part) { return part.WantsNewest(); });
}

bool Requirement::AcceptsAnything() const {
  const auto accepts = [](const Requirement& part) { return part.AcceptsAnything(); };
  return type == Type::kInsecureAcceptAnything ||
         (type == Type::kAnyOf && std::any_of(parts.begin(), parts.end(), accepts));
}

Requirement Requirement::Parse(const json::Cursor& from, size_t depth) {
  const std::string& name = from.At("type").String();
  const auto row =
      std::find_if(kTypes.begin(), kTypes.end(), [&name](const TypeName& known) { return known.name == name; });
  if (row == kTypes.end()) {
    from.At("type").Fail("unknown requirement " + Quoted(name));
  }
  Requirement requirement{.type = row->type};
  switch (row->type) {
    case Type::kInsecureAcceptAnything:
    case Type::kReject:
      from.OnlyKeys({"type"});
      return requirement;
    case Type::kSignedBy:
      return ParseSignedBy(from);
    case Type::kSignedBaseLayer:
      from.OnlyKeys({"type", "baseLayerIdentity"});
      requirement.identity = IdentityRule::Parse(from.At("baseLayerIdentity"));
      return requirement;
    case Type::kSigstoreSigned:
      return ParseSigstoreSigned(from);
    case Type::kNotationSigned:
      return ParseNotationSigned(from);
    case Type::kAppcSigned:
      return ParseAppcSigned(from);
    case Type::kIdentitySigned:
      return ParseIdentitySigned(from);
    default:
      return ParseParts(from, row->type, depth);
  }
}

std::vector<Requirement> Requirement::ParseList(const json::Cursor& from, size_t depth) {
  std::vector<Requirement> requirements;
  for (const json::Cursor& element : from.Elements(kMaxRequirements)) {
    requirements.push_back(Parse(element, depth));
  }
  if (requirements.empty()) {
    from.Fail("expected at least one requirement");
  }
  return requirements;
}

DockerReference PolicyName(const DockerReference& name) {
  DockerReference as_policy = name.WithDefaultTag();
  if (as_policy.digest) {
    as_policy.tag.clear();
  }
  return as_policy;
}

IdentityRule IdentityRule::Parse(const json::Cursor& from) {
  IdentityRule rule;
  const std::string& type = from.At("type").String();
  if (type == "matchExact" || type == "matchRepoDigestOrExact" || type == "matchRepository") {
    from.OnlyKeys({"type"});
    rule.kind = type == "matchExact"        ? Kind::kMatchExact
                : type == "matchRepository" ? Kind::kMatchRepository
                                            : Kind::kMatchRepoDigestOrExact;
  } else if (type == "exactReference") {
    from.OnlyKeys({"type", "dockerReference"});
    const DockerReference reference = ParseReference(from.At("dockerReference"));
    if (NamesOnly(reference)) {
      from.At("dockerReference").Fail("expected a tag or a digest");
    }
    rule = {Kind::kExactReference, reference.ToString(), {}, {}};
  } else if (type == "exactRepository") {
    from.OnlyKeys({"type", "dockerRepository"});
    rule = {Kind::kExactRepository, ParseReference(from.At("dockerRepository")).Repository(), {}, {}};
  } else if (type == "remapIdentity") {
    from.OnlyKeys({"type", "prefix", "signedPrefix"});
    rule = {Kind::kRemapIdentity, {}, ParsePrefix(from.At("prefix")), ParsePrefix(from.At("signedPrefix"))};
  } else if (type == "matchDigest") {
    from.OnlyKeys({"type"});
    rule.kind = Kind::kMatchDigest;
  } else {
    from.At("type").Fail("unknown identity rule " + Quoted(type));
  }
  return rule;
}

bool IdentityRule::Allows(const std::optional<DockerReference>& asked, const DockerReference& signed_as) const {
  if (kind == Kind::kMatchDigest) {
    return true;
  }
  if (kind == Kind::kExactReference) {
    return signed_as.ToString() == reference;
  }
  if (kind == Kind::kExactRepository) {
    return signed_as.Repository() == reference;
  }
  if (!asked) {
    return false;
  }
  const DockerReference name = PolicyName(*asked);
  switch (kind) {
    case Kind::kMatchExact:
      return signed_as == name;
    case Kind::kMatchRepository:
      return signed_as.Repository() == name.Repository();
    case Kind::kRemapIdentity: {
      const auto remapped = Remap(name, prefix, signed_prefix);
      return remapped && AllowsRepoDigestOrExact(*remapped, signed_as);
    }
    default:
      return AllowsRepoDigestOrExact(name, signed_as);
  }
}

std::string IdentityRule::Describe(const std::optional<DockerReference>& asked) const {
  if (kind == Kind::kMatchDigest) {
    return "any name";
  }
  if (kind == Kind::kExactReference) {
    return Quoted(reference);
  }
  if (kind == Kind::kExactRepository) {
    return "a tag of " + Quoted(reference);
  }
  if (!asked) {
    return "nothing, as the image has no registry name";
  }
  DockerReference name = PolicyName(*asked);
  if (kind == Kind::kRemapIdentity) {
    name = Remap(name, prefix, signed_prefix).value_or(name);
  }
  const bool any_tag = kind == Kind::kMatchRepository || (kind != Kind::kMatchExact && name.digest);
  return any_tag ? "a tag of " + Quoted(name.Repository()) : Quoted(name.ToString());
}

}  // namespace gantry::sign
