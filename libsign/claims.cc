#include "libsign/claims.h"

#include <cstdint>
#include <optional>

#include "libimage/base/error.h"
#include "libsign/simple_signing.h"

namespace gantry::sign {
namespace {

using image::DockerReference;

std::optional<DockerReference> NameIn(const std::string& text) {
  try {
    return text.empty() ? std::nullopt : std::optional(DockerReference::Parse(text));
  } catch (const Error&) {
    return std::nullopt;  // subjects may be called anything
  }
}

std::optional<Digest> DigestIn(const Subject& subject, std::string_view algorithm, std::string_view prefix) {
  const auto found = subject.digests.find(std::string(algorithm));
  return found == subject.digests.end() ? std::nullopt : Digest::TryParse(std::string(prefix) + ":" + found->second);
}

Claim ClaimOf(const Statement& statement, const Subject& subject, const Signer& signer) {
  Claim claim{.signer = signer};
  for (const std::string_view algorithm : {"sha256", "sha512"}) {
    if (const auto digest = DigestIn(subject, algorithm, algorithm)) {
      claim.manifests.push_back(*digest);
    }
  }
  if (statement.predicate_type == kIdentityPredicate) {
    claim.identity = DigestIn(subject, kIdentityDigest, "sha256");
  }
  claim.name = NameIn(subject.name);
  if (const json::Value* time = statement.predicate.object()->Find("timestamp")) {
    claim.time = json::Cursor(*time, "timestamp").Integer(INT64_MIN, INT64_MAX);
  }
  return claim;
}

}  // namespace

std::vector<Claim> ClaimsOf(const Statement& statement, const Signer& signer) {
  std::vector<Claim> claims;
  for (const Subject& subject : statement.subjects) {
    claims.push_back(ClaimOf(statement, subject, signer));
  }
  return claims;
}

bool ClaimJudge::Payload(size_t index, std::string_view payload, const Signer& signer) {
  const auto claim = ParsedPayload(index, signer, [&] { return SimpleClaim::Parse(payload, PayloadKind::kCosign); });
  return claim && verdicts_.Add(index, JudgeClaim(question_, requirement_,
                                                  {signer, {claim->manifest}, {}, claim->reference, claim->timestamp}));
}

bool ClaimJudge::Envelope(size_t index, const DsseEnvelope& envelope, const Signer& signer) {
  if (envelope.payload_type != kInTotoType) {
    return verdicts_.Add(
        index, Outcome::Refused("bad-payload", "what " + signer.Describe() + " signed is no in-toto statement"));
  }
  const auto statement = ParsedPayload(index, signer, [&] { return Statement::Parse(envelope.payload); });
  if (!statement) {
    return false;
  }
  const bool by_identity = requirement_.type == Requirement::Type::kIdentitySigned;
  const std::string_view wanted = by_identity ? kIdentityPredicate : kCosignPredicate;
  if (statement->predicate_type != wanted) {
    verdicts_.Skip(index, "other-predicate",
                   signer.Describe() + " attests " + Quoted(statement->predicate_type) + ", and the policy asks for " +
                       Quoted(wanted));
    return false;
  }
  const auto claims = ParsedPayload(index, signer, [&] { return ClaimsOf(*statement, signer); });
  return claims && verdicts_.Add(index, BestOf(*claims));
}

bool ClaimJudge::Manifest(size_t index, const Signer& signer) {
  return verdicts_.Add(index, JudgeClaim(question_, requirement_,
                                         {.signer = signer, .manifests = {question_.image.descriptor().digest}}));
}

Outcome ClaimJudge::BestOf(const std::vector<Claim>& claims) const {
  Outcome last;
  for (const Claim& claim : claims) {
    last = JudgeClaim(question_, requirement_, claim);
    if (last.met) {
      break;
    }
  }
  return last;
}

}  // namespace gantry::sign
