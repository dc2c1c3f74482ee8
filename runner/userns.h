// User namespaces: which ids of the host are a container's.
//
// Without root, the caller is uid 0 inside; with a range in /etc/subuid and /etc/subgid, ids 1 and up are the range,
// set up by the setuid helpers newuidmap and newgidmap. Without one, uid 0 and gid 0 are all there is, and setgroups is
// denied.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/base/process.h"

namespace gantry::runner {

struct IdRange {
  uint32_t inside = 0;
  uint32_t outside = 0;
  uint32_t count = 0;
  friend bool operator==(const IdRange&, const IdRange&) = default;
};

struct IdMap {
  std::vector<IdRange> uids;
  std::vector<IdRange> gids;
  std::string note;  // why there is no range, for a warning; empty when there is one

  bool single() const { return uids.size() == 1 && uids[0].count == 1; }
  bool HasUid(uint32_t inside) const;
  bool HasGid(uint32_t inside) const;
  uint32_t OutsideUid(uint32_t inside) const;  // of one that it has
  // Names the trees whose owners were written under this map: "u" and the first id outside that is not the user's own
  // ("u100000"), or the user's own for a single id.
  std::string Variant() const;
};

// The caller as root, alone.
IdMap MapOfCaller();

// The map for the calling user, by /etc/subuid and /etc/subgid, the newuidmap helpers being there.
IdMap PlanIdMap();

// The same from given texts of the two files, `user` being matched by name or number; ranges of at least 1000 ids
// count.
IdMap PlanIdMap(const std::string& user, uid_t uid, gid_t gid, std::string_view subuid, std::string_view subgid);

// The ranges of at least 1000 ids that lines of NAME-OR-NUMBER:START:COUNT give `user`, or the number `id`; `inside`
// is 1.
std::vector<IdRange> SubIdRanges(std::string_view text, const std::string& user, std::optional<uint32_t> id);

// The text of such a file; empty when there is none.
std::string ReadSubIds(const std::string& path);

// Writes the map of `pid`, which is in a user namespace of its own that has none yet: itself as root or for a single
// id, else by the helpers.
void ApplyIdMap(pid_t pid, const IdMap& map);

// Why a user namespace could not be made, with what to do about it. `error` is clone's errno.
[[noreturn]] void ThrowNoUserNamespace(int error);

// Runs `body` in a forked child that is uid 0 of a new user namespace with `map` and returns how it ended. For
// single-threaded callers; an exception that leaves `body` is printed nowhere and makes the child exit with 1.
ExitStatus RunInUserNamespace(const IdMap& map, const std::function<int()>& body);

}  // namespace gantry::runner
