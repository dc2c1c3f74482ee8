// One requirement of a policy: who must have signed what (gantry-policy(5)). Whether an image meets it is
// libsign/evaluate.h.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"
#include "libimage/model/reference.h"
#include "libsign/crypto.h"

namespace gantry::sign {

constexpr size_t kMaxRequirements = 100;    // of one list
constexpr size_t kMaxRequirementDepth = 8;  // of anyOf and threshold in each other
constexpr size_t kMaxKeyPaths = 1000;       // of one requirement

// Which names a signature may carry for an image to pass ("signedIdentity").
struct IdentityRule {
  enum class Kind {
    kMatchExact,              // the same name and tag (or digest)
    kMatchRepoDigestOrExact,  // an image asked for by tag: as kMatchExact; by digest: the same repository
    kMatchRepository,         // the same repository, any tag
    kExactReference,          // `reference`, whatever the image is called
    kExactRepository,         // any tag of `reference`
    kRemapIdentity,           // `prefix` of the image's name replaced with `signed_prefix`, then the default rule
    kMatchDigest,             // ours: any name or none, for signatures that carry none
  };
  Kind kind = Kind::kMatchRepoDigestOrExact;
  std::string reference;  // kExactReference and kExactRepository: normalised
  std::string prefix;
  std::string signed_prefix;

  // `asked` is the image's name; nullopt (images without a registry name) passes only the exact kinds and kMatchDigest.
  bool Allows(const std::optional<image::DockerReference>& asked, const image::DockerReference& signed_as) const;
  // One line for people: "the same repository and tag as 'x'".
  std::string Describe(const std::optional<image::DockerReference>& asked) const;
  static IdentityRule Parse(const json::Cursor& from);
};

struct Requirement {
  enum class Type {
    kInsecureAcceptAnything,
    kReject,
    kSignedBy,
    kSignedBaseLayer,
    kSigstoreSigned,
    kNotationSigned,
    // What containers-policy.json(5) does not have.
    kAppcSigned,      // the ACI that an image is, by one of the keys or else of those trusted for its name
    kIdentitySigned,  // an identity attestation by one of the keys
    kAnyOf,           // one of `parts`
    kThreshold,       // `parts` met by `count` different keys
  };
  Type type = Type::kReject;

  // The keys, by path or as bytes; any one of them suffices.
  std::string key_type;  // kSignedBy: "GPGKeys", or one that is reserved and never satisfied
  std::vector<std::string> key_paths;
  std::vector<std::string> key_datas;
  std::optional<Scheme> algorithm;  // of bare signatures; nullopt: Scheme::DefaultFor the key
  IdentityRule identity;

  // A signature says when it was made, and that is not before.
  std::optional<int64_t> not_before;
  // The same, for what was last accepted under this name.
  bool never_older = false;

  // Where certificates, logs or timestamps decide: the requirement as it was written. Else null.
  json::Value certificates;
  // The files with keys of logs and certificates that it names; of kNotationSigned the directory with all of that.
  std::vector<std::string> authority_paths = {};

  std::vector<Requirement> parts;
  size_t count = 1;

  // As written in policy.json: "signedBy".
  std::string_view Name() const;
  // The bare keys of key_paths and key_datas, read now; throws for one that cannot be used.
  std::vector<PublicKey> OpenKeys() const;
  // Every file with keys or certificates that it or its parts name.
  void AddKeyPaths(std::set<std::string>& to) const;
  // Whether signatures that lie in the repository of the image could meet it.
  bool WantsAttachments() const;
  // Whether it or a part of it is identitySigned.
  bool WantsIdentities() const;
  // Whether it or a part of it has never_older.
  bool WantsNewest() const;
  // Whether it asks for nothing.
  bool AcceptsAnything() const;

  static Requirement Parse(const json::Cursor& from, size_t depth = 0);
  // A list, which has at least one.
  static std::vector<Requirement> ParseList(const json::Cursor& from, size_t depth = 0);
};

// A name as policies see it: one with neither tag nor digest gets "latest", one with both loses the tag.
image::DockerReference PolicyName(const image::DockerReference& name);

}  // namespace gantry::sign
