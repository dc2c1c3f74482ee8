#include "libsign/describe.h"

#include <ctime>
#include <optional>

#include "libimage/base/base64.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/evaluate.h"
#include "libsign/openpgp.h"
#include "libsign/time_text.h"
#include "libsign/x509.h"

namespace gantry::sign {
namespace {

using Type = Requirement::Type;

std::string OfIdentity(const IdentityRule& rule) {
  using Kind = IdentityRule::Kind;
  switch (rule.kind) {
    case Kind::kMatchExact:
      return "signed under exactly the image's name";
    case Kind::kMatchRepoDigestOrExact:
      return "";  // what is meant where nothing is said
    case Kind::kMatchRepository:
      return "signed under any tag of the repository";
    case Kind::kExactReference:
      return "signed as " + rule.reference;
    case Kind::kExactRepository:
      return "signed under any tag of " + rule.reference;
    case Kind::kRemapIdentity:
      return "signed under " + rule.signed_prefix + " in place of " + rule.prefix;
    case Kind::kMatchDigest:
      return "signed under any name or none";
  }
  return "";
}

void AddConditions(const Requirement& requirement, Description& into) {
  const auto add = [&into](std::string text) {
    if (!text.empty()) {
      into.conditions.push_back(std::move(text));
    }
  };
  add(OfIdentity(requirement.identity));
  if (requirement.type == Type::kThreshold) {
    add("signed by " + std::to_string(requirement.count) + " different keys");
  }
  if (!requirement.key_type.empty() && requirement.key_type != "GPGKeys") {
    add("keys of type " + requirement.key_type + ", which nothing meets");
  }
  if (requirement.algorithm) {
    add("signed with " + requirement.algorithm->Name());
  }
  if (requirement.not_before) {
    add("signed on " + TimeText(*requirement.not_before) + " or later");
  }
  if (requirement.never_older) {
    add("never older than what was accepted under the name before");
  }
}

// What a file holds, or the reason why it does not serve.
template <typename Read>
void AddFrom(const std::string& kind, const std::string& path, std::vector<Voucher>& into, Read read) {
  try {
    read();
  } catch (const Error& error) {
    into.push_back({kind, {}, {}, path, error.message()});
  }
}

void AddOpenPgp(const std::string& content, const std::string& path, const std::string& what,
                std::vector<Voucher>& into) {
  for (const KeyInfo& key : ReadKeyFile(content, what)) {
    into.push_back({"key", key.fingerprint, key.user_ids.empty() ? "" : key.user_ids.front(), path, key.problem});
  }
}

void AddBare(const std::string& kind, const std::string& content, const std::string& path, const std::string& what,
             std::vector<Voucher>& into) {
  const PublicKey key = PublicKey::Parse(content, what);
  into.push_back({kind, "sha256:" + key.fingerprint(), std::string(Name(key.kind())), path, {}});
}

void AddKeys(const Requirement& requirement, std::vector<Voucher>& into) {
  const bool openpgp = requirement.type == Type::kSignedBy || requirement.type == Type::kAppcSigned;
  const auto add = [&](const std::string& content, const std::string& path, const std::string& what) {
    if (openpgp) {
      AddOpenPgp(content, path, what, into);
    } else {
      AddBare("key", content, path, what, into);
    }
  };
  for (const std::string& path : requirement.key_paths) {
    AddFrom("key", path, into, [&] { add(ReadFile(path, kMaxKeyBytes), path, Quoted(path)); });
  }
  for (const std::string& data : requirement.key_datas) {
    AddFrom("key", "", into, [&] { add(data, "", "keyData"); });
  }
}

void AddTrustedKeys(const Policy& policy, const std::string& prefix, std::vector<Voucher>& into) {
  for (const TrustedKey& key : policy.trusted_keys().For(prefix)) {
    AddFrom("key", key.path, into,
            [&] { AddOpenPgp(ReadFile(key.path, kMaxKeyBytes), key.path, Quoted(key.path), into); });
  }
  for (const TrustedKey& file : policy.trusted_keys().files()) {
    if (file.removes && file.prefix == prefix) {
      into.push_back({"removed", file.fingerprint, {}, file.path, {}});
    }
  }
}

// Calls `use` with the content and path of what PATH names or DATA holds, in an object of the policy.
template <typename Use>
void ForEachOf(const json::Cursor& from, const std::string& member, const std::string& kind, std::vector<Voucher>& into,
               Use use) {
  const auto file = [&](const std::string& path) {
    AddFrom(kind, path, into, [&] { use(ReadFile(path, kMaxCertificateFileBytes), path); });
  };
  const auto data = [&](const std::string& base64) {
    AddFrom(kind, "", into, [&] { use(DecodeBase64(base64).value_or(std::string()), ""); });
  };
  if (const auto path = from.Find(member + "Path")) {
    file(path->String());
  }
  if (const auto paths = from.Find(member + "Paths")) {
    for (const std::string& path : paths->Strings(kMaxKeyPaths)) {
      file(path);
    }
  }
  if (const auto one = from.Find(member + "Data")) {
    data(one->String());
  }
  if (const auto datas = from.Find(member + "Datas")) {
    for (const json::Cursor& one : datas->Elements(kMaxKeyPaths)) {
      data(one.String());
    }
  }
}

void AddCertificates(const json::Cursor& from, const std::string& member, const std::string& kind,
                     std::vector<Voucher>& into) {
  ForEachOf(from, member, kind, into, [&](const std::string& pem, const std::string& path) {
    for (const Certificate& one : Certificate::ParsePem(pem, path.empty() ? member + "Data" : Quoted(path))) {
      const bool valid = one.ValidAt(std::time(nullptr));
      into.push_back(
          {kind, one.subject(), "until " + TimeText(one.not_after()), path, valid ? "" : "not valid at present"});
    }
  });
}

std::string TextAt(const json::Cursor& from, std::string_view key) {
  const auto member = from.Find(key);
  return member ? member->String() : std::string();
}

void AddAuthorities(const Requirement& requirement, Description& into) {
  const json::Cursor from(requirement.certificates, "requirement");
  if (const auto fulcio = from.Find("fulcio")) {
    into.conditions.push_back("certificate issued to " + TextAt(*fulcio, "subjectEmail") + " by " +
                              TextAt(*fulcio, "oidcIssuer"));
    AddCertificates(*fulcio, "ca", "authority", into.vouchers);
  }
  if (const auto pki = from.Find("pki")) {
    const std::string email = TextAt(*pki, "subjectEmail"), host = TextAt(*pki, "subjectHostname");
    into.conditions.push_back("certificate for " + email + (email.empty() || host.empty() ? "" : " and ") + host);
    AddCertificates(*pki, "caRoots", "authority", into.vouchers);
    AddCertificates(*pki, "caIntermediates", "intermediate", into.vouchers);
  }
  ForEachOf(from, "rekorPublicKey", "log", into.vouchers, [&](const std::string& key, const std::string& path) {
    AddBare("log", key, path, path.empty() ? "rekorPublicKeyData" : Quoted(path), into.vouchers);
  });
}

void AddStatements(const Requirement& requirement, Description& into) {
  const std::string& directory = requirement.authority_paths.front();
  AddFrom("statement", directory, into.vouchers, [&] {
    for (const NotaryStatement& statement : ReadNotaryStatements(directory)) {
      std::string about;
      for (const std::string& scope : statement.scopes) {
        about += (about.empty() ? "" : ", ") + scope;
      }
      if (statement.skip) {
        about += "; asks for nothing";
      }
      for (const NotaryIdentity& identity : statement.identities) {
        about += "; " + identity.ToString();
      }
      into.vouchers.push_back({"statement", statement.name, about, directory, {}});
    }
  });
}

Description DescribeOne(const Requirement& requirement, const Policy& policy, const std::string& prefix) {
  Description out{.type = std::string(requirement.Name())};
  AddConditions(requirement, out);
  AddKeys(requirement, out.vouchers);
  if (requirement.type == Type::kAppcSigned && requirement.key_paths.empty() && requirement.key_datas.empty()) {
    AddTrustedKeys(policy, prefix, out.vouchers);
  }
  if (!requirement.certificates.is_null()) {
    AddAuthorities(requirement, out);
  }
  if (requirement.type == Type::kNotationSigned) {
    AddStatements(requirement, out);
  }
  for (const Requirement& part : requirement.parts) {
    out.parts.push_back(DescribeOne(part, policy, prefix));
  }
  return out;
}

}  // namespace

std::vector<Description> Describe(const PolicyRule& rule, const Policy& policy) {
  std::vector<Description> all;
  for (const Requirement& requirement : rule.requirements) {
    all.push_back(DescribeOne(requirement, policy, rule.prefix.value_or("")));
  }
  return all;
}

json::Value Description::ToJson() const {
  json::Array lines, requirements;
  for (const Voucher& voucher : vouchers) {
    json::Object line = {{"kind", voucher.kind}};
    const auto add = [&line](const char* key, const std::string& value) {
      if (!value.empty()) {
        line.Append(key, value);
      }
    };
    add("id", voucher.id);
    add("name", voucher.name);
    add("path", voucher.path);
    add("problem", voucher.problem);
    lines.emplace_back(std::move(line));
  }
  json::Object out = {{"type", type}};
  if (!conditions.empty()) {
    out.Append("conditions", conditions);
  }
  if (!lines.empty()) {
    out.Append("vouchers", std::move(lines));
  }
  for (const Description& part : parts) {
    requirements.push_back(part.ToJson());
  }
  if (!requirements.empty()) {
    out.Append("requirements", std::move(requirements));
  }
  return out;
}

}  // namespace gantry::sign
