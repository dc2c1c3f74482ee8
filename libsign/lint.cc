#include "libsign/lint.h"

#include <algorithm>
#include <array>
#include <set>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libsign/evaluate.h"
#include "libsign/openpgp.h"

namespace gantry::sign {
namespace {

using image::DockerReference;
using Type = Requirement::Type;

constexpr std::array<std::string_view, 5> kTransports = {"docker", "oci", "oci-archive", "docker-archive", "aci"};

bool AcceptsAnything(const std::vector<Requirement>& requirements) {
  return std::all_of(requirements.begin(), requirements.end(),
                     [](const Requirement& requirement) { return requirement.AcceptsAnything(); });
}

// Whether names in their normal form can be looked up under it.
bool IsReachable(std::string_view scope) {
  if (scope == "any" || scope.starts_with("*.")) {
    return true;
  }
  const auto parses_as = [](const std::string& text, auto printed) {
    try {
      return printed(DockerReference::Parse(text)) == text;
    } catch (const Error&) {
      return false;
    }
  };
  const std::string text(scope);
  return parses_as(text + "/x/y", [](const DockerReference& name) { return name.Repository(); }) ||
         parses_as(text, [](const DockerReference& name) { return name.ToString(); });
}

// "docker" and "quay.io/org" of "docker: quay.io/org"; the default has no transport.
std::pair<std::string_view, std::string_view> Split(const PolicyRule& rule) {
  const std::string_view scope = rule.scope;
  const size_t colon = scope.find(": ");
  return colon == scope.npos ? std::pair(std::string_view(), scope)
                             : std::pair(scope.substr(0, colon), scope.substr(colon + 2));
}

// How images of `scope` would come to be decided by `other` if it were not there: 3 by a parent, 2 by a wildcard, 1 by
// the scope of all, 0 never.
int HowWide(std::string_view other, std::string_view scope) {
  if (other == scope) {
    return 0;
  }
  if (scope.starts_with(other) && std::string_view("/:@").find(scope[other.size()]) != std::string_view::npos) {
    return 3;
  }
  const std::string_view host = scope.substr(0, scope.find_first_of(":/"));
  if (other.starts_with("*.") && host.ends_with(other.substr(1))) {
    return 2;
  }
  return other == "any" ? 1 : 0;
}

class Linter {
 public:
  explicit Linter(const Policy& policy) : policy_(policy), rules_(policy.Rules()) {}

  std::vector<Finding> Run() {
    for (const PolicyRule& rule : rules_) {
      scope_ = rule.scope;
      if (rule.prefix) {
        LookAtTrustedKeys(*rule.prefix);
        continue;
      }
      LookAtScope(rule);
      LookAtHole(rule);
      for (const Requirement& requirement : rule.requirements) {
        LookAt(requirement);
      }
    }
    return std::move(findings_);
  }

 private:
  void Find(std::string code, std::string text) { findings_.push_back({std::move(code), scope_, std::move(text)}); }

  void LookAtScope(const PolicyRule& rule) {
    const auto [transport, scope] = Split(rule);
    if (transport.empty()) {
      return;
    }
    if (std::find(kTransports.begin(), kTransports.end(), transport) == kTransports.end()) {
      Find("unknown-transport", "gantry looks nothing up under " + Quoted(transport));
    } else if (transport == "docker" && !IsReachable(scope)) {
      Find("unreachable-scope",
           "no image has a name that leads here: write it in full, as in docker.io/library/alpine");
    }
  }

  // The most specific scope decides alone, so one that asks for nothing opens what a wider one closes.
  void LookAtHole(const PolicyRule& rule) {
    if (!AcceptsAnything(rule.requirements)) {
      return;
    }
    const PolicyRule* wider = &rules_.front();
    std::pair<int, size_t> closest = {0, 0};
    const auto [transport, scope] = Split(rule);
    for (const PolicyRule& other : rules_) {
      const auto [other_transport, other_scope] = Split(other);
      const std::pair<int, size_t> distance = {HowWide(other_scope, scope), other_scope.size()};
      if (other_transport == transport && !transport.empty() && distance > closest && distance.first > 0) {
        closest = distance;
        wider = &other;
      }
    }
    if (wider != &rule && !AcceptsAnything(wider->requirements)) {
      Find("shadowed-scope", "it asks for nothing, and so sets aside what " + Quoted(wider->scope) + " asks for");
    } else {
      Find("accept-anything", "it asks for nothing: whoever made an image is trusted");
    }
  }

  // Each file that is about this prefix: the key that it is named by, or an empty one that hides one.
  void LookAtTrustedKeys(const std::string& prefix) {
    const std::vector<TrustedKey>& files = policy_.trusted_keys().files();
    for (auto file = files.begin(); file != files.end(); ++file) {
      if (file->prefix != prefix) {
        continue;
      }
      if (!file->removes) {
        LookAtTrustedKey(*file);
      } else if (std::none_of(files.begin(), file, [&](const TrustedKey& other) {
                   return other.fingerprint == file->fingerprint && other.IsFor(prefix);
                 })) {
        Find("idle-removal", Quoted(file->path) + " is empty to hide a key, and there is none");
      }
    }
  }

  void LookAtTrustedKey(const TrustedKey& file) {
    try {
      const std::vector<KeyInfo> keys = ReadKeyFile(ReadFile(file.path, kMaxKeyBytes), Quoted(file.path));
      if (keys.size() != 1 || LowerAscii(keys[0].fingerprint) != file.fingerprint) {
        Find("misnamed-key", Quoted(file.path) + " does not hold the key that it is named by, and it alone");
      }
      for (const KeyInfo& key : keys) {
        if (!key.usable) {
          Find("unusable-key", Quoted(file.path) + ": key " + key.fingerprint + " is " + key.problem);
        }
      }
    } catch (const Error& error) {
      Find("unreadable-key", error.message());
    }
  }

  void LookAt(const Requirement& requirement) {
    const bool by_key = requirement.type == Type::kSignedBy || requirement.type == Type::kAppcSigned ||
                        requirement.type == Type::kSigstoreSigned || requirement.type == Type::kNotationSigned ||
                        requirement.type == Type::kIdentitySigned;
    if (!by_key && requirement.parts.empty() && requirement.type != Type::kReject && !requirement.AcceptsAnything()) {
      Find("never-met", "a requirement " + Quoted(requirement.Name()) + " is never met");
    }
    for (const std::string& path : requirement.key_paths) {
      LookAtKey(requirement, Quoted(path), [&] { return ReadFile(path, kMaxKeyBytes); });
    }
    for (const std::string& data : requirement.key_datas) {
      LookAtKey(requirement, "keyData", [&] { return data; });
    }
    LookAtAuthorities(requirement);
    if (requirement.type == Type::kThreshold) {
      LookAtThreshold(requirement);
    }
    for (const Requirement& part : requirement.parts) {
      LookAt(part);
    }
  }

  void LookAtAuthorities(const Requirement& requirement) {
    try {
      if (requirement.type == Type::kNotationSigned) {
        RequireNotaryTrust(requirement);
      } else if (!requirement.certificates.is_null()) {
        RequireAuthorities(requirement);
      }
    } catch (const Error& error) {
      Find("unreadable-key", error.message());
    }
  }

  template <typename Read>
  void LookAtKey(const Requirement& requirement, const std::string& what, Read read) {
    try {
      for (const Key& key : KeysIn(requirement, read(), what)) {
        if (!key.problem.empty()) {
          Find("unusable-key", what + ": key " + key.fingerprint + " is " + key.problem);
        }
      }
    } catch (const Error& error) {
      Find("unreadable-key", error.message());
    }
  }

  // A threshold counts different keys, in whatever files they are. Whom an authority certifies may be any number.
  void LookAtThreshold(const Requirement& threshold) {
    std::set<std::string> keys;
    if (AddUsableKeys(threshold, keys) && keys.size() < threshold.count) {
      Find("threshold-too-high", std::to_string(threshold.count) + " different keys must sign, and there are only " +
                                     std::to_string(keys.size()));
    }
  }

  struct Key {
    std::string fingerprint;
    std::string problem;  // empty when it can be used
  };

  static std::vector<Key> KeysIn(const Requirement& requirement, const std::string& content, const std::string& what) {
    std::vector<Key> keys;
    if (requirement.type != Type::kSignedBy && requirement.type != Type::kAppcSigned) {
      keys.push_back({PublicKey::Parse(content, what).fingerprint(), {}});
      return keys;
    }
    for (const KeyInfo& key : ReadKeyFile(content, what)) keys.push_back({key.fingerprint, key.problem});
    return keys;
  }

  // False when it cannot be told who might sign; what cannot be read is found elsewhere.
  static bool AddUsableKeys(const Requirement& requirement, std::set<std::string>& to) {
    if (requirement.type == Type::kAppcSigned) {
      to.insert("who signed the file");  // an ACI has one signature
      return true;
    }
    const auto add = [&](const std::string& content, const std::string& what) {
      for (const Key& key : KeysIn(requirement, content, what)) {
        if (key.problem.empty()) {
          to.insert(key.fingerprint);
        }
      }
    };
    try {
      for (const std::string& path : requirement.key_paths) add(ReadFile(path, kMaxKeyBytes), path);
      for (const std::string& data : requirement.key_datas) add(data, "keyData");
    } catch (const Error&) {
      return false;
    }
    return requirement.certificates.is_null() && requirement.type != Type::kNotationSigned &&
           std::ranges::all_of(requirement.parts, [&](const Requirement& part) { return AddUsableKeys(part, to); });
  }

  const Policy& policy_;
  std::vector<PolicyRule> rules_;
  std::string scope_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> Lint(const Policy& policy) { return Linter(policy).Run(); }

}  // namespace gantry::sign
