// The policy file as gantry-trust(1) edits it: keys added to scopes, scopes removed, all else left as it was.
//
// Edits are made under a lock and replace the file whole, and what is written has been read back as a policy first, so
// that no edit can leave a policy that does not load.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libimage/base/json.h"
#include "libsign/crypto.h"
#include "libsign/openpgp.h"

namespace gantry::sign {

// The scope of policy.json that a user means: "docker://HOST/REPO[:TAG]", the same without "docker://", a host alone, a
// namespace with a slash at the end ("quay.io/org/"), or "*.DOMAIN". Short names are Docker's ("alpine" is
// "docker.io/library/alpine"). kUsage for anything else.
std::string ParseScope(std::string_view text);

// The file that gantry-trust changes: `path` (--policy), $GANTRY_POLICY, the user's gantry/policy.json (root: only if
// it exists), else /etc/gantry/policy.json.
std::string EditedPolicyPath(const std::optional<std::string>& path);

// A key to trust, and for what.
struct NewKey {
  std::string content;      // of its file
  std::string file_name;    // that it is kept under, by its fingerprint
  std::string requirement;  // "signedBy", "sigstoreSigned" or "identitySigned"

  static NewKey OpenPgp(std::string content, const KeyInfo& info);
  // A bare key: what it signs, or what it attests with an identity.
  static NewKey Bare(const PublicKey& key, bool identity);
};

struct AddedKey {
  std::string policy;        // the file that was changed
  std::string key_file;      // where the key is kept now, beside it
  std::string started_from;  // the policy that a new file was copied from; empty when it existed
  bool was_there = false;    // the scope trusted this key already
};

// Trusts `key` for `scope`, beside keys that are there already. A policy file that does not exist yet begins as a copy
// of the one that decided so far, or with reject. kUsage when the scope has requirements other than one of the same
// kind with keys in files.
AddedKey AddKey(const std::string& policy_path, const std::string& scope, const NewKey& key);

// Removes all requirements of a scope; false when it has none. Key files stay.
bool RemoveScope(const std::string& policy_path, const std::string& scope);

}  // namespace gantry::sign
