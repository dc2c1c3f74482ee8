// What a policy asks for, told: by whom a requirement can be met, and under which conditions. For gantry-trust(1),
// list.
#pragma once

#include <string>
#include <vector>

#include "libimage/base/json.h"
#include "libsign/policy.h"

namespace gantry::sign {

// A key, authority, log, statement or file that a requirement rests on.
struct Voucher {
  std::string kind;     // "key", "authority", "intermediate", "log", "statement", "removed"
  std::string id;       // fingerprint of a key, subject of a certificate, name of a statement; empty where unusable
  std::string name;     // user ID, kind of key, how long it holds
  std::string path;     // of its file; empty for what stands in the policy itself
  std::string problem;  // why it does not serve; empty when it does
};

struct Description {
  std::string type;                     // as in policy.json
  std::vector<std::string> conditions;  // "issued to a@b.example by https://issuer.example"
  std::vector<Voucher> vouchers;
  std::vector<Description> parts;

  json::Value ToJson() const;
};

// In the order of the rule's requirements. Reads the files that they name; one that cannot be read is a voucher with a
// problem. `policy` is the one that the rule is of.
std::vector<Description> Describe(const PolicyRule& rule, const Policy& policy);

}  // namespace gantry::sign
