// Who may ask: names with passwords (Basic, RFC 7617) and tokens (Bearer, RFC 6750), out of two files.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "libimage/base/digest.h"

namespace gantry::serve {

constexpr size_t kMaxAccessFileBytes = 16 * 1024 * 1024;

class Access {
 public:
  // `passwords` has lines NAME:HASH as htpasswd(1) writes them, in any form of crypt(5), bcrypt among them; `tokens`
  // has a token a line, or NAME:TOKEN. Empty lines and lines with # are left out. Either text may be absent; without
  // both everybody may ask. kCorrupt, with the line, for what has no such form.
  Access(const std::optional<std::string>& passwords, const std::optional<std::string>& tokens);
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;

  bool open() const { return open_; }
  // Who it is, by the header Authorization; nullopt for nobody that is known. Thread-safe.
  std::optional<std::string> WhoIs(const std::string& authorization);
  // The value of WWW-Authenticate.
  std::string Challenge() const;

 private:
  std::optional<std::string> ByPassword(const std::string& encoded);

  bool open_;
  std::map<std::string, std::string> hashes_;  // by name
  std::map<Digest, std::string> tokens_;       // by the digest, so that no comparison tells how much was right
  std::mutex mutex_;
  std::set<Digest> known_;  // names with passwords that were right: a hash takes a while, on purpose
};

}  // namespace gantry::serve
