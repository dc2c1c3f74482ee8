// The trusted keys of appc: which OpenPGP keys may sign ACIs of which names, as files in the layout of rkt
// (gantry-policy(5)):
//
//   root.d/FINGERPRINT             for every name
//   prefix.d/PREFIX/FINGERPRINT    for PREFIX, and for what follows it behind a slash: example.com/foo is not the
//   prefix
//                                  of example.com/foobar
//
// An empty file takes away what an earlier one of its name gave. Several such directories make one set: the root.d of
// all of them comes before any prefix.d, and there shorter prefixes before longer ones.
//
// Only names are read here. The files' content is what libsign/evaluate.h looks at, and a key counts only under the
// fingerprint that its file is named by.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::sign {

constexpr size_t kMaxTrustedKeys = 10'000;  // files, in all directories
constexpr size_t kMaxTrustedKeyDepth = 32;  // components of a prefix
constexpr std::string_view kTrustedKeysName = "trustedkeys";

struct TrustedKey {
  std::string fingerprint;  // lower-case hexadecimal, of a primary key
  std::string prefix;       // empty: every name
  std::string path;         // of its file
  bool removes = false;     // the file is empty

  // Whether it is about images of that name.
  bool IsFor(std::string_view name) const;
};

class TrustedKeys {
 public:
  // What `directories` hold, the one that decides last at the end; those that are not there hold nothing. kCorrupt for
  // a file that is not named by a fingerprint or lies below no prefix, for it cannot be told whom it should keep out.
  static TrustedKeys Read(const std::vector<std::string>& directories);

  // The keys for images of that name.
  std::vector<TrustedKey> For(std::string_view name) const;
  // The longest prefix of that name that a file is about, "" for root.d; nullopt when no key is trusted for it.
  std::optional<std::string> PrefixOf(std::string_view name) const;

  // Every file, in the order in which they count.
  const std::vector<TrustedKey>& files() const { return files_; }
  const std::vector<std::string>& directories() const { return directories_; }

 private:
  std::vector<std::string> directories_;
  std::vector<TrustedKey> files_;
};

// Where trusted keys lie for the policy in `policy_file`, one that was named: beside it. For nullopt, rkt's places and
// gantry's, the user's at the end.
std::vector<std::string> TrustedKeyDirectories(const std::optional<std::string>& policy_file);

// "example.com/foo", an AC Identifier; "" is every name. kUsage otherwise.
std::string ParseKeyPrefix(std::string_view text);

struct KeyChange {
  std::string file;      // that was written or removed
  bool changed = false;  // else it was so already
  bool masks = false;    // an empty file was written, as another place trusts the key
};

// Trusts one public key, given as the content of its file, for `prefix`: written to `directory`, armored.
KeyChange AddTrustedKey(const std::string& directory, const std::string& prefix, const std::string& fingerprint,
                        const std::string& content);

// Ends the trust in a key for `prefix`. What `directories`, of which `directory` is the one to change, trust elsewhere
// is hidden by an empty file. kNotFound when it was not trusted, kFailed when a place that comes later trusts it.
KeyChange RemoveTrustedKey(const std::vector<std::string>& directories, const std::string& directory,
                           const std::string& prefix, const std::string& fingerprint);

}  // namespace gantry::sign
