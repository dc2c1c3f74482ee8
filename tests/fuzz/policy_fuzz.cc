#include "libsign/policy.h"
#include "tests/fuzz/fuzz.h"

using gantry::fuzz::Accepts;
using gantry::fuzz::Require;
using gantry::image::DockerReference;
using gantry::sign::Policy;

// Whatever a policy says, it has an answer for every name, the same one twice, and never an empty one.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Policy policy = Policy::AcceptAnything("fuzz");
  if (!Accepts([&] { policy = Policy::Parse(gantry::fuzz::Text(data, size), "policy"); }))
    return 0;
  for (const char* text : {"busybox", "a.example:5000/b/c:v1",
                           "quay.io/org/app@sha256:"
                           "0123456789abcdef0123456789abcdef"
                           "0123456789abcdef0123456789abcdef"}) {
    const DockerReference name = DockerReference::Parse(text);
    const auto rule = policy.RuleFor(name);
    Require(!rule.requirements.empty() && policy.RuleFor(name).scope == rule.scope);
    for (const auto& requirement : rule.requirements) {
      const bool allowed = requirement.identity.Allows(name, name);
      Require(requirement.identity.Describe(name).empty() == false);
      if (requirement.identity.kind == gantry::sign::IdentityRule::Kind::kMatchExact)
        Require(allowed);
    }
  }
  Require(!policy.RuleFor("oci", "/srv/images/a").requirements.empty());
  Require(policy.Rules().size() >= 1);
  return 0;
}
