#include "libsign/notary_policy.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::sign::NotaryPolicy;

// A policy has statements; each has a name, and trusts somebody or skips all.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Accepts([&] {
    const NotaryPolicy policy = NotaryPolicy::Parse(gantry::fuzz::Text(data, size), "fuzz");
    Require(!policy.statements().empty());
    for (const auto& statement : policy.statements()) {
      Require(!statement.name.empty() && !statement.scopes.empty());
      Require(statement.skip == statement.identities.empty());
      Require(policy.For(statement.scopes.front()) == &statement);
      for (const auto& identity : statement.identities) Require(!identity.ToString().empty());
    }
  });
  return 0;
}
