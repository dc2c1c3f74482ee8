// Who the application runs as, found out inside the image's rootfs.
//
// /etc/passwd and /etc/group belong to the image and are hostile: they are opened inside the root (links cannot lead
// out), must be regular files of bounded size (CVE-2024-9676: a device or an endless file), and every number in them
// and on the command line is parsed strictly (CVE-2026-30892: "1001x" is not 1001, and -1 is no user).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/dir.h"

namespace gantry::runner {

constexpr size_t kMaxAccountFileBytes = 4 * 1024 * 1024;
constexpr size_t kMaxGroups = 1024;  // supplementary groups of one user

struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary, sorted, without `gid`
  std::string home = "/";     // from passwd; "/root" for uid 0 without an entry
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// The two files, where they were read by somebody else.
struct AccountFiles {
  std::string passwd;
  std::string group;
};

// `spec` is "", USER, UID, USER:GROUP, UID:GID or a mixture. "" is uid 0. Digits alone are a number, never a name. The
// group of a USER or UID without group is that of its passwd entry, else 0; supplementary groups count only then.
// A name that the image does not have is kNotFound; other spellings are kUsage; hostile files are kCorrupt.
Credentials ResolveUser(const Dir& root, std::string_view spec);
Credentials ResolveUser(const AccountFiles& files, std::string_view spec);

// The capabilities that we have: as bits, what no process of ours in our user namespace can have more of.
uint64_t OwnCapabilities();

// What this machine calls a user: by /etc/passwd, else by its name services, of which getent(1) knows (libc's would
// keep programs from being static). The number, where it has no name.
std::string NameOnHost(uid_t uid);

}  // namespace gantry::runner
