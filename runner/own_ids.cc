#include "runner/own_ids.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr const char* kDirectory = "/run/gantry";
constexpr const char* kFile = "/run/gantry/ids";
constexpr uint64_t kGroups = uint64_t{1} << 32;  // where the bytes of gids begin

struct flock LockOf(uint64_t first, uint32_t count) {
  struct flock out {};
  out.l_type = F_WRLCK;
  out.l_whence = SEEK_SET;
  out.l_start = static_cast<off_t>(first);
  out.l_len = count;
  return out;
}

// The lowest free ids of `range`; nullopt when there are not as many in one piece.
std::optional<uint32_t> LockWithin(int file, uint64_t base, const IdRange& range, uint32_t count) {
  uint64_t first = range.outside;
  const uint64_t end = uint64_t{range.outside} + range.count;
  while (first + count <= end) {
    struct flock lock = LockOf(base + first, count);
    if (fcntl(file, F_OFD_SETLK, &lock) == 0)
      return static_cast<uint32_t>(first);
    if (errno != EAGAIN && errno != EACCES)
      ThrowErrno("claim ids for the pod");
    lock = LockOf(base + first, count);
    if (fcntl(file, F_OFD_GETLK, &lock) < 0)
      ThrowErrno("see which ids are taken");
    // Let go meanwhile: the same once more.
    if (lock.l_type != F_UNLCK)
      first = static_cast<uint64_t>(lock.l_start + lock.l_len) - base;
  }
  return std::nullopt;
}

IdRange ClaimAmong(int file, uint64_t base, const std::vector<IdRange>& ranges, uint32_t count, const char* where) {
  const auto large = [&](const IdRange& range) { return range.count >= count; };
  if (std::ranges::none_of(ranges, large))
    throw Error(ErrorKind::kUnsupported,
                std::string(where) + " has no range of " + std::to_string(count) + " ids for " + Quoted(kOwnIdsUser),
                std::string("an administrator adds a line like: ") + kOwnIdsUser + ":2147483648:1073741824");
  for (const IdRange& range : ranges) {
    if (const auto first = LockWithin(file, base, range, count))
      return {0, *first, count};
  }
  throw Error(ErrorKind::kFailed, "other pods have all ids of " + Quoted(kOwnIdsUser) + " in " + where,
              "wait for one to end, give less ids with --userns=auto:size=N, or make the range larger");
}

UniqueFd OpenClaims() {
  if (mkdir(kDirectory, 0700) < 0 && errno != EEXIST)
    ThrowErrno(std::string("make the directory ") + kDirectory);
  return OpenFile(kFile, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
}

}  // namespace

OwnIds OwnIds::Claim(uint32_t count) {
  return Claim(count, ReadSubIds("/etc/subuid"), ReadSubIds("/etc/subgid"), OpenClaims());
}

OwnIds OwnIds::Claim(uint32_t count, std::string_view subuid, std::string_view subgid, UniqueFd file) {
  IdMap map;
  map.uids = {ClaimAmong(file.get(), 0, SubIdRanges(subuid, kOwnIdsUser, std::nullopt), count, "/etc/subuid")};
  map.gids = {ClaimAmong(file.get(), kGroups, SubIdRanges(subgid, kOwnIdsUser, std::nullopt), count, "/etc/subgid")};
  return {std::move(file), std::move(map)};
}

}  // namespace gantry::runner
