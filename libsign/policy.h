// The trust policy: containers-policy.json(5) as Podman, Skopeo and CRI-O read it, in gantry's hands
// (gantry-policy(5)).
//
// A policy answers one question: which requirements must an image of this name meet? The most specific scope decides
// alone; its requirements are ANDed. Reading is strict: an unknown or duplicate member, an unknown type or an empty
// list of requirements makes the whole file invalid, because a policy that was misread is worse than none. Whether an
// image meets the requirements is libsign/verify.h.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/reference.h"
#include "libsign/requirement.h"
#include "libsign/trusted_keys.h"

namespace gantry::sign {

constexpr size_t kMaxPolicyBytes = 4 * 1024 * 1024;
constexpr size_t kMaxPolicyScopes = 100'000;

// What a policy says about one image.
struct PolicyRule {
  std::string scope;                       // "docker: quay.io/org", "appc: example.com/foo", "default"
  std::vector<Requirement> requirements;   // not empty
  std::optional<std::string> prefix = {};  // of trusted keys of appc that it stands for

  // As of its requirements.
  bool WantsAttachments() const;
  bool WantsNewest() const;
};

class Policy {
 public:
  // The policy that decides here: `path` if given (--policy), else the first that exists of $GANTRY_POLICY,
  // $XDG_CONFIG_HOME/gantry/policy.json, /etc/gantry/policy.json, $XDG_CONFIG_HOME/containers/policy.json and
  // /etc/containers/policy.json, else the built-in one, which rejects everything. An /etc/containers/policy.json that
  // holds nothing but insecureAcceptAnything is what distributions ship so that Podman starts; nobody decided it, so it
  // counts as absent (passed_over() says so). kNotFound when `path` or $GANTRY_POLICY names no file. The trusted keys
  // of appc come with it: those beside a file that was named, else those in the usual places (trusted_keys.h).
  static Policy Load(const std::optional<std::string>& path);

  // `what` names the document in errors.
  static Policy Parse(std::string_view text, std::string_view what);

  // Allows everything; `why` is what vouches ("--insecure-options=image").
  static Policy AcceptAnything(std::string why);

  // The rule for an image. Registry names are looked up under "docker": NAME:TAG or NAME@DIGEST, the repository, its
  // parents, the host, *.DOMAIN wildcards, ""; then "default". A name with both tag and digest is looked up by digest.
  PolicyRule RuleFor(const image::DockerReference& name) const;
  // For images that are files: `transport` as in policy.json ("oci"), `path` absolute and free of symbolic links,
  // looked up with its parents. If none decides and keys are trusted for `appc_name`, the name of an ACI, they do.
  PolicyRule RuleFor(std::string_view transport, const std::string& path,
                     const std::optional<std::string>& appc_name = std::nullopt) const;
  // What nothing more specific decides.
  PolicyRule DefaultRule() const;

  // Every rule, the default first, then by transport and scope, then a rule for each prefix of trusted keys.
  std::vector<PolicyRule> Rules() const;

  // Every key file that a requirement names.
  std::set<std::string> KeyPaths() const;

  const TrustedKeys& trusted_keys() const { return trusted_keys_; }

  // The file, "built-in policy", or the `why` of AcceptAnything.
  const std::string& source() const { return source_; }
  // Whether `source` was named with --policy.
  bool named() const { return named_; }
  // Built by AcceptAnything.
  bool accepts_anything() const { return accepts_anything_; }
  // A file that exists and was not taken as a policy, with the reason; empty when there is none.
  const std::string& passed_over() const { return passed_over_; }

  // Whether any rule asks for identities (gantry-identity(5)).
  bool WantsIdentities() const;

  // True when every requirement of the policy is insecureAcceptAnything.
  bool RequiresNothing() const;

 private:
  using Scopes = std::vector<std::pair<std::string, std::vector<Requirement>>>;  // sorted by scope
  const std::vector<Requirement>* Find(std::string_view transport, std::string_view scope) const;
  static Policy LoadFirst(const std::vector<std::string>& places);
  void LoadTrustedKeys(const std::optional<std::string>& policy_file);

  std::vector<Requirement> default_;
  std::vector<std::pair<std::string, Scopes>> transports_;
  TrustedKeys trusted_keys_;
  std::string source_;
  std::string passed_over_;
  bool named_ = false;
  bool accepts_anything_ = false;
};

// The scopes under which a registry name is looked up, most specific first, without "" and the default:
// "host/a/b:tag", "host/a/b", "host/a", "host", "*.domain". Shared with registries.d.
std::vector<std::string> ScopesOf(const image::DockerReference& name);

// $XDG_CONFIG_HOME or ~/.config; nullopt when neither is known.
std::optional<std::string> UserConfigDirectory();

}  // namespace gantry::sign
