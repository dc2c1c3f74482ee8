#include "libsign/trusted_keys.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <tuple>

#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/model/aci_manifest.h"
#include "libsign/openpgp.h"
#include "libsign/openpgp_packets.h"
#include "libsign/policy.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kRoot = "root.d";
constexpr std::string_view kPrefix = "prefix.d";
constexpr std::string_view kHint = "rkt and gantry name them PREFIX/FINGERPRINT, in lower case; see gantry-policy(5)";

// Of keys of version 4; those of later versions are 64 long.
bool IsFingerprint(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// Reads the files below one root.d or prefix.d.
class Walk {
 public:
  explicit Walk(std::vector<TrustedKey>& into) : into_(into) {}

  void Read(const std::string& directory, const std::string& prefix, bool take_directories, size_t depth = 0) {
    struct stat status {};
    if (depth == 0 && stat(directory.c_str(), &status) != 0 && errno == ENOENT) {
      return;
    }
    if (depth > kMaxTrustedKeyDepth) {
      throw Error(ErrorKind::kCorrupt, Quoted(directory) + ": too many components for a name", std::string(kHint));
    }
    for (const std::string& name : Dir::Open(directory).List()) {
      const std::string path = directory + "/" + name;
      if (name.starts_with('.')) {
        continue;  // on its way here; neither a fingerprint nor a part of a name begins so
      }
      if (stat(path.c_str(), &status) != 0) {
        ThrowErrno("read the trusted key " + Quoted(path));
      }
      if (S_ISDIR(status.st_mode) && take_directories) {
        Read(path, prefix.empty() ? name : prefix + "/" + name, true, depth + 1);
      } else {
        Add(path, name, prefix, status, take_directories);
      }
    }
  }

 private:
  void Add(const std::string& path, const std::string& name, const std::string& prefix, const struct stat& status,
           bool needs_prefix) {
    const bool named = needs_prefix ? image::IsAcIdentifier(prefix) : prefix.empty();
    if (!S_ISREG(status.st_mode) || !IsFingerprint(name) || !named) {
      throw Error(ErrorKind::kCorrupt, Quoted(path) + " is not a trusted key named by its fingerprint",
                  std::string(kHint));
    }
    if (into_.size() == kMaxTrustedKeys) {
      throw Error(ErrorKind::kCorrupt, Quoted(path) + ": more than " + std::to_string(kMaxTrustedKeys) + " keys");
    }
    into_.push_back({name, prefix, path, status.st_size == 0});
  }

  std::vector<TrustedKey>& into_;
};

// Where the file of a key lies.
std::string KeyDirectory(const std::string& directory, const std::string& prefix) {
  return directory + "/" + (prefix.empty() ? std::string(kRoot) : std::string(kPrefix) + "/" + prefix);
}

// What is left of `files`, which come in the order in which they count, where `is_for` holds.
template <typename IsFor>
std::vector<TrustedKey> Merged(const std::vector<TrustedKey>& files, IsFor is_for) {
  std::vector<TrustedKey> keys;
  for (const TrustedKey& file : files) {
    if (!is_for(file)) {
      continue;
    }
    std::erase_if(keys, [&](const TrustedKey& key) { return key.fingerprint == file.fingerprint; });
    if (!file.removes) {
      keys.push_back(file);
    }
  }
  return keys;
}

// Whether `directories` trust the key for all images below `prefix`.
bool IsTrusted(const std::vector<std::string>& directories, const std::string& prefix, const std::string& fingerprint) {
  const auto is_for = [&](const TrustedKey& file) { return prefix.empty() ? file.prefix.empty() : file.IsFor(prefix); };
  return std::ranges::any_of(Merged(TrustedKeys::Read(directories).files(), is_for),
                             [&](const TrustedKey& key) { return key.fingerprint == fingerprint; });
}

// Held until the Dir is gone.
Dir OpenLocked(const std::string& directory) {
  Dir dir = Dir::Create(directory);
  if (flock(dir.fd(), LOCK_EX) != 0) {
    ThrowErrno("lock " + Quoted(directory));
  }
  return dir;
}

}  // namespace

bool TrustedKey::IsFor(std::string_view name) const {
  return prefix.empty() || name == prefix || (name.starts_with(prefix) && name[prefix.size()] == '/');
}

TrustedKeys TrustedKeys::Read(const std::vector<std::string>& directories) {
  TrustedKeys keys;
  keys.directories_ = directories;
  Walk walk(keys.files_);
  for (const std::string_view level : {kRoot, kPrefix}) {
    for (const std::string& directory : directories) {
      const size_t first = keys.files_.size();
      walk.Read(directory + "/" + std::string(level), "", level == kPrefix);
      std::stable_sort(keys.files_.begin() + static_cast<ptrdiff_t>(first), keys.files_.end(),
                       [](const TrustedKey& a, const TrustedKey& b) {
                         return std::make_tuple(a.prefix.size(), a.prefix) < std::make_tuple(b.prefix.size(), b.prefix);
                       });
    }
  }
  return keys;
}

std::vector<TrustedKey> TrustedKeys::For(std::string_view name) const {
  return Merged(files_, [&](const TrustedKey& file) { return file.IsFor(name); });
}

std::optional<std::string> TrustedKeys::PrefixOf(std::string_view name) const {
  if (For(name).empty()) {
    return std::nullopt;
  }
  std::string longest;
  for (const TrustedKey& file : files_) {
    if (file.IsFor(name) && file.prefix.size() > longest.size()) {
      longest = file.prefix;
    }
  }
  return longest;
}

std::vector<std::string> TrustedKeyDirectories(const std::optional<std::string>& policy_file) {
  const std::string name(kTrustedKeysName);
  if (policy_file) {
    const size_t slash = policy_file->rfind('/');
    return {(slash == std::string::npos ? "" : policy_file->substr(0, slash + 1)) + name};
  }
  std::vector<std::string> directories = {"/usr/lib/rkt/" + name, "/etc/rkt/" + name, "/etc/gantry/" + name};
  if (const auto user = UserConfigDirectory()) {
    directories.push_back(*user + "/gantry/" + name);
  }
  return directories;
}

std::string ParseKeyPrefix(std::string_view text) {
  if (!text.empty() && !image::IsAcIdentifier(text)) {
    throw Error(ErrorKind::kUsage, Quoted(text) + " is no name of App Container Images",
                "write example.com/path in lower case, without a scheme, a version or a '*'");
  }
  return std::string(text);
}

KeyChange AddTrustedKey(const std::string& directory, const std::string& prefix, const std::string& fingerprint,
                        const std::string& content) {
  const std::string place = KeyDirectory(directory, prefix);
  const Dir locked = OpenLocked(directory);
  const Dir dir = Dir::Create(place);
  const RelPath name = RelPath::Parse(fingerprint);
  const std::string armored = ArmorPublicKeys(DecodePublicKeys(content, "the key", kMinRsaBits));
  KeyChange change{place + "/" + fingerprint, true, false};
  change.changed = !dir.Exists(name) || dir.ReadFile(name, kMaxKeyBytes) != armored;
  if (change.changed) {
    dir.WriteFileAtomically(name, armored);
  }
  return change;
}

KeyChange RemoveTrustedKey(const std::vector<std::string>& directories, const std::string& directory,
                           const std::string& prefix, const std::string& fingerprint) {
  const auto trusted = [&] { return IsTrusted(directories, prefix, fingerprint); };
  const std::string about = prefix.empty() ? "every name" : Quoted(prefix);
  if (!trusted()) {
    throw Error(ErrorKind::kNotFound, "key " + fingerprint + " is not trusted for " + about,
                "'gantry trust list' shows the keys");
  }
  const Dir locked = OpenLocked(directory);
  const std::string place = KeyDirectory(directory, prefix);
  const Dir dir = Dir::Create(place);
  const RelPath name = RelPath::Parse(fingerprint);
  KeyChange change{place + "/" + fingerprint, true, false};
  dir.RemoveFile(name);
  if (trusted()) {
    change.masks = true;
    dir.WriteFileAtomically(name, "");
  }
  if (trusted()) {
    throw Error(ErrorKind::kFailed, "key " + fingerprint + " is still trusted for " + about,
                "a directory that comes after " + Quoted(directory) + " trusts it; see 'gantry trust list'");
  }
  return change;
}

}  // namespace gantry::sign
