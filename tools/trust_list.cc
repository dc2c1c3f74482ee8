#include "tools/trust_list.h"

#include <cstdio>

#include "libimage/base/json.h"
#include "libsign/describe.h"
#include "libsign/policy.h"
#include "tools/policy_options.h"
#include "tools/trust_keys.h"

namespace gantry::tools {
namespace {

// Keys and files of keys stand as they are; what else there is says what it is.
void Print(const sign::Voucher& voucher, int indent) {
  std::string line = voucher.kind == "key" ? "" : voucher.kind + " ";
  if (voucher.id.empty()) {
    line += "unusable: " + voucher.problem;
  } else {
    line += Printable(voucher.id) + (voucher.problem.empty() ? "" : " (" + voucher.problem + ")") +
            (voucher.name.empty() ? "" : " " + Printable(voucher.name));
  }
  const bool in_file = !voucher.path.empty() && !voucher.id.empty();
  std::printf("%*s%s%s\n", indent, "", line.c_str(), in_file ? (" in " + Printable(voucher.path)).c_str() : "");
}

void Print(const sign::Description& requirement, int indent) {
  std::printf("%*s%s\n", indent, "", requirement.type.c_str());
  for (const std::string& condition : requirement.conditions) {
    std::printf("%*s%s\n", indent + 4, "", Printable(condition).c_str());
  }
  for (const sign::Voucher& voucher : requirement.vouchers) {
    Print(voucher, indent + 4);
  }
  for (const sign::Description& part : requirement.parts) {
    Print(part, indent + 4);
  }
}

}  // namespace

int ListTrust(const TrustOptions& options) {
  const sign::Policy policy = sign::Policy::Load(Given(options.policy));
  if (!policy.passed_over().empty()) {
    Warn(options.common, policy.passed_over());
  }
  json::Array rules;
  if (!options.json) {
    std::printf("policy: %s\n", policy.source().c_str());
  }
  for (const sign::PolicyRule& rule : policy.Rules()) {
    const std::vector<sign::Description> requirements = sign::Describe(rule, policy);
    if (!options.json) {
      std::printf("%s\n", Printable(rule.scope).c_str());
    }
    json::Array described;
    for (const sign::Description& requirement : requirements) {
      if (options.json) {
        described.push_back(requirement.ToJson());
      } else {
        Print(requirement, 4);
      }
    }
    rules.push_back(json::Object{{"scope", rule.scope}, {"requirements", std::move(described)}});
  }
  if (options.json) {
    std::fputs(json::PrintPretty(json::Object{{"policy", policy.source()},
                                              {"trustedKeys", policy.trusted_keys().directories()},
                                              {"rules", std::move(rules)}})
                   .c_str(),
               stdout);
  }
  return 0;
}

}  // namespace gantry::tools
