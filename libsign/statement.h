// in-toto statements (in-toto/attestation, spec/v1): what an attestation is about, and what it says.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/json.h"

namespace gantry::sign {

constexpr size_t kMaxSubjects = 1024;
constexpr size_t kMaxSubjectDigests = 32;

// What cosign attests when it signs an image: nothing but the digest.
constexpr std::string_view kCosignPredicate = "https://sigstore.dev/cosign/sign/v1";
// What gantry attests with --identity: that this is the image, whatever it is packed in (gantry-identity(5)).
constexpr std::string_view kIdentityPredicate = "urn:gantry:identity:1";
// The digest of a subject under which the identity stands, in hexadecimal.
constexpr std::string_view kIdentityDigest = "gantry-identity-1";

struct Subject {
  std::string name = {};                       // empty when absent
  std::map<std::string, std::string> digests;  // "sha256": hexadecimal
  std::map<std::string, std::string> annotations = {};
};

struct Statement {
  std::vector<Subject> subjects;  // at least one
  std::string predicate_type;
  json::Value predicate;

  // Of the type "https://in-toto.io/Statement/v1" and no other; members beside those of the specification are
  // kCorrupt, as is a digest that is not lower-case hexadecimal.
  static Statement Parse(std::string_view payload);
  std::string ToJson() const;
};

}  // namespace gantry::sign
