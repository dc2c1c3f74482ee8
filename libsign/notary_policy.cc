#include "libsign/notary_policy.h"

#include <algorithm>
#include <set>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/reference.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kSubject = "x509.subject:";

bool IsStoreName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
             std::string_view::npos;
}

void ParseStore(const json::Cursor& from, NotaryStatement& statement) {
  const std::string& text = from.String(512);
  const size_t colon = text.find(':');
  const std::string type = text.substr(0, colon);
  const std::string name = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (!IsStoreName(name)) {
    from.Fail("expected ca:NAME, signingAuthority:NAME or tsa:NAME");
  }
  if (type == "ca") {
    statement.ca_stores.push_back(name);
  } else if (type == "signingAuthority") {
    statement.authority_stores.push_back(name);
  } else if (type == "tsa") {
    statement.tsa_stores.push_back(name);
  } else {
    from.Fail("unknown type of trust store " + Quoted(type));
  }
}

NotaryAction ParseAction(const json::Cursor& from, bool may_skip) {
  const std::string& text = from.String(16);
  if (text == "enforce") {
    return NotaryAction::kEnforce;
  }
  if (text == "log") {
    return NotaryAction::kLog;
  }
  if (text == "skip" && may_skip) {
    return NotaryAction::kSkip;
  }
  from.Fail(may_skip ? "expected enforce, log or skip" : "expected enforce or log");
}

void ParseLevel(const json::Cursor& from, NotaryStatement& statement) {
  constexpr NotaryAction kLog = NotaryAction::kLog;
  const std::string& level = from.String(16);
  if (level == "permissive" || level == "audit") {
    statement.authenticity = level == "audit" ? kLog : NotaryAction::kEnforce;
    statement.timestamp = statement.expiry = statement.revocation = kLog;
  } else if (level == "skip") {
    statement.skip = true;
  } else if (level != "strict") {
    from.Fail("expected strict, permissive, audit or skip");
  }
}

void ParseOverride(const json::Cursor& from, NotaryStatement& statement) {
  from.OnlyKeys({"authenticity", "authenticTimestamp", "expiry", "revocation"});
  const auto apply = [&](std::string_view key, NotaryAction& action, bool may_skip) {
    if (from.value().object()->Find(key) != nullptr) {
      action = ParseAction(from.At(key), may_skip);
    }
  };
  apply("authenticity", statement.authenticity, false);
  apply("authenticTimestamp", statement.timestamp, false);
  apply("expiry", statement.expiry, false);
  apply("revocation", statement.revocation, true);
}

void ParseVerification(const json::Cursor& from, NotaryStatement& statement) {
  from.OnlyKeys({"level", "override", "verifyTimestamp"});
  ParseLevel(from.At("level"), statement);
  if (const auto more = from.Find("override")) {
    if (statement.skip) {
      more->Fail("level skip has nothing to override");
    }
    ParseOverride(*more, statement);
  }
  if (const auto when = from.Find("verifyTimestamp")) {
    const std::string& text = when->String(32);
    if (text != "always" && text != "afterCertExpiry") {
      when->Fail("expected always or afterCertExpiry");
    }
    statement.timestamp_always = text == "always";
  }
}

// One identity within another would make a rule of two names that are one.
bool Within(const NotaryIdentity& part, const NotaryIdentity& whole) {
  return std::all_of(part.attributes.begin(), part.attributes.end(), [&](const auto& attribute) {
    return std::find(whole.attributes.begin(), whole.attributes.end(), attribute) != whole.attributes.end();
  });
}

void ParseIdentities(const json::Cursor& from, NotaryStatement& statement) {
  for (const json::Cursor& element : from.Elements(kMaxNotaryNames)) {
    const auto identity = NotaryIdentity::Parse(element.String(4096));
    if (!identity) {
      element.Fail("expected '*' or 'x509.subject: C=..,ST=..,O=..'");
    }
    for (const NotaryIdentity& other : statement.identities) {
      if (Within(other, *identity) || Within(*identity, other)) {
        element.Fail("it overlaps with another identity");
      }
    }
    statement.identities.push_back(*identity);
  }
}

void ParseScopes(const json::Cursor& from, NotaryStatement& statement) {
  statement.scopes = from.Strings(kMaxNotaryScopes);
  for (const std::string& scope : statement.scopes) {
    bool good = scope == "*" && statement.scopes.size() == 1;
    try {
      good =
          good || (scope.find('/') != std::string::npos && image::DockerReference::Parse(scope).Repository() == scope);
    } catch (const Error&) {
    }
    if (!good) {
      from.Fail("expected full repositories, or '*' alone");
    }
  }
  if (statement.scopes.empty()) {
    from.Fail("expected at least one scope");
  }
}

NotaryStatement ParseStatement(const json::Cursor& from) {
  from.OnlyKeys({"name", "registryScopes", "signatureVerification", "trustStores", "trustedIdentities"});
  NotaryStatement statement;
  statement.name = from.At("name").String(256);
  ParseScopes(from.At("registryScopes"), statement);
  ParseVerification(from.At("signatureVerification"), statement);
  if (const auto stores = from.Find("trustStores")) {
    for (const json::Cursor& store : stores->Elements(kMaxNotaryNames)) {
      ParseStore(store, statement);
    }
  }
  if (const auto identities = from.Find("trustedIdentities")) {
    ParseIdentities(*identities, statement);
  }
  const bool stores = !statement.ca_stores.empty() || !statement.authority_stores.empty();
  const bool any = stores || !statement.tsa_stores.empty() || !statement.identities.empty();
  if (statement.name.empty() || (statement.skip ? any : !stores || statement.identities.empty())) {
    from.Fail("a statement has a name, and but for level skip trust stores and trusted identities");
  }
  return statement;
}

// "C=US, O=a\, b" as attributes. nullopt where RFC 4514 would mean something that is not supported.
std::optional<std::vector<std::pair<std::string, std::string>>> ParseName(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> attributes(1);
  std::string* at = &attributes.back().first;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && i + 1 < text.size() &&
        std::string_view(",+\"\\<>;=# ").find(text[i + 1]) != std::string_view::npos) {
      *at += text[++i];
    } else if (c == '=' && at == &attributes.back().first) {
      at = &attributes.back().second;
      if (text.substr(i + 1).starts_with('#')) {
        return std::nullopt;
      }
    } else if (c == ',') {
      attributes.emplace_back();
      at = &attributes.back().first;
    } else if (c == '+' || c == '\\' || c == '"' || c == ';' || c == '<' || c == '>') {
      return std::nullopt;
    } else {
      *at += c;
    }
  }
  for (auto& [type, value] : attributes) {
    type = Trimmed(type);
    value = Trimmed(value);
    type = type == "S" ? "ST" : type;
    if (type.empty() || value.empty()) {
      return std::nullopt;
    }
  }
  return attributes;
}

}  // namespace

std::optional<NotaryIdentity> NotaryIdentity::Parse(std::string_view text) {
  if (text == "*") {
    return NotaryIdentity{};
  }
  if (!text.starts_with(kSubject)) {
    return std::nullopt;
  }
  const auto attributes = ParseName(text.substr(kSubject.size()));
  if (!attributes) {
    return std::nullopt;
  }
  std::set<std::string> types;
  for (const auto& [type, value] : *attributes) {
    if (!types.insert(type).second) {
      return std::nullopt;
    }
  }
  const bool complete = types.contains("C") && types.contains("ST") && types.contains("O");
  return complete ? std::optional(NotaryIdentity{*attributes}) : std::nullopt;
}

bool NotaryIdentity::Matches(const Certificate& leaf) const {
  const auto& subject = leaf.subject_attributes();
  for (const NameAttribute& attribute : subject) {
    const auto same = [&](const NameAttribute& other) { return other.type == attribute.type; };
    if (!attributes.empty() && (attribute.shares_rdn || std::count_if(subject.begin(), subject.end(), same) != 1)) {
      return false;  // of which a part could be mistaken for the whole
    }
  }
  return std::all_of(attributes.begin(), attributes.end(), [&](const auto& wanted) {
    return std::any_of(subject.begin(), subject.end(), [&](const NameAttribute& attribute) {
      return attribute.type == wanted.first && attribute.value == wanted.second;
    });
  });
}

std::string NotaryIdentity::ToString() const {
  std::string text;
  for (const auto& [type, value] : attributes) {
    text += (text.empty() ? "" : ",") + type + "=" + value;
  }
  return text.empty() ? "*" : text;
}

NotaryPolicy NotaryPolicy::Parse(std::string_view text, std::string_view what) {
  if (text.size() > kMaxNotaryPolicyBytes) {
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": over " + std::to_string(kMaxNotaryPolicyBytes) + " bytes");
  }
  const json::Value document = json::Parse(text, what);
  const json::Cursor root(document, std::string(what));
  root.OnlyKeys({"version", "trustPolicies"});
  if (root.At("version").String(16) != "1.0") {
    root.At("version").Fail("expected '1.0'");
  }
  NotaryPolicy policy;
  std::set<std::string> names;
  std::set<std::string> scopes;
  for (const json::Cursor& element : root.At("trustPolicies").Elements(kMaxNotaryStatements)) {
    NotaryStatement statement = ParseStatement(element);
    if (!names.insert(statement.name).second) {
      element.Fail("a second statement of this name");
    }
    for (const std::string& scope : statement.scopes) {
      if (!scopes.insert(scope).second) {
        element.Fail("scope " + Quoted(scope) + " is in two statements, or twice in one");
      }
    }
    policy.statements_.push_back(std::move(statement));
  }
  if (policy.statements_.empty()) {
    root.At("trustPolicies").Fail("expected at least one statement");
  }
  return policy;
}

const NotaryStatement* NotaryPolicy::For(std::string_view repository) const {
  const NotaryStatement* for_all = nullptr;
  for (const NotaryStatement& statement : statements_) {
    if (std::find(statement.scopes.begin(), statement.scopes.end(), repository) != statement.scopes.end()) {
      return &statement;
    }
    for_all = statement.scopes.front() == "*" ? &statement : for_all;
  }
  return for_all;
}

}  // namespace gantry::sign
