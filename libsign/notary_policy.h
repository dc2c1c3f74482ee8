// The trust policy of the Notary Project (trust-store-trust-policy.md): which repositories must be signed by whom, and
// how strictly. Read as strictly as gantry's own: an unknown or repeated member makes the whole file invalid, where
// notation's reader passes over both.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libsign/x509.h"

namespace gantry::sign {

constexpr size_t kMaxNotaryPolicyBytes = 4 * 1024 * 1024;
constexpr size_t kMaxNotaryStatements = 1000;
constexpr size_t kMaxNotaryScopes = 10'000;  // of one statement
constexpr size_t kMaxNotaryNames = 100;      // stores or identities of one statement

// What happens when a check fails.
enum class NotaryAction { kEnforce, kLog, kSkip };

// A part of a subject: attributes that it must have, all of them, once each.
struct NotaryIdentity {
  std::vector<std::pair<std::string, std::string>> attributes;  // empty for "*", anybody

  bool Matches(const Certificate& leaf) const;
  // "*" or "x509.subject: C=..,ST=..,O=..". nullopt when it is neither.
  static std::optional<NotaryIdentity> Parse(std::string_view text);
  std::string ToString() const;
};

struct NotaryStatement {
  std::string name;
  std::vector<std::string> scopes;  // repositories, or "*" alone
  bool skip = false;                // level "skip": nothing is verified
  NotaryAction authenticity = NotaryAction::kEnforce;
  NotaryAction timestamp = NotaryAction::kEnforce;
  NotaryAction expiry = NotaryAction::kEnforce;
  NotaryAction revocation = NotaryAction::kEnforce;
  bool timestamp_always = true;  // else only after a certificate of the chain expired
  std::vector<std::string> ca_stores;
  std::vector<std::string> authority_stores;
  std::vector<std::string> tsa_stores;
  std::vector<NotaryIdentity> identities;
};

class NotaryPolicy {
 public:
  // trustpolicy.json or trustpolicy.oci.json; `what` names it in errors. kCorrupt for what is not exactly one.
  static NotaryPolicy Parse(std::string_view text, std::string_view what);

  // For "host/repository": the statement that names it, else the one for all; nullptr when there is neither.
  const NotaryStatement* For(std::string_view repository) const;

  const std::vector<NotaryStatement>& statements() const { return statements_; }

 private:
  std::vector<NotaryStatement> statements_;
};

}  // namespace gantry::sign
