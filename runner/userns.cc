#include "runner/userns.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "runner/user.h"

namespace gantry::runner {
namespace {

constexpr size_t kMaxSubIdBytes = 4 * 1024 * 1024;
constexpr uint32_t kLeastRange = 1000;  // less than that holds no distribution's system users
constexpr uint32_t kLastId = 0xFFFFFFFE;
constexpr uint32_t kUsedRange = 65536;  // all that images are made of; what is beyond stays unmapped
constexpr const char* kNoRange = "only id 0 is mapped: ";

// The longest range.
std::optional<IdRange> FindRange(std::string_view text, const std::string& user, uint32_t id) {
  const std::vector<IdRange> ranges = SubIdRanges(text, user, id);
  const auto longest = std::ranges::max_element(ranges, {}, &IdRange::count);
  if (longest == ranges.end())
    return std::nullopt;
  return IdRange{1, longest->outside, std::min(longest->count, kUsedRange)};
}

bool InPath(const std::string& program) {
  for (const char* dir : {"/usr/bin/", "/bin/", "/usr/local/bin/"}) {
    if (access((dir + program).c_str(), X_OK) == 0)
      return true;
  }
  return false;
}

bool Has(const std::vector<IdRange>& ranges, uint32_t inside) {
  return std::ranges::any_of(ranges,
                             [&](const IdRange& r) { return inside >= r.inside && inside - r.inside < r.count; });
}

void WriteProc(pid_t pid, const char* file, const std::string& text) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const UniqueFd fd = OpenFile(path, O_WRONLY);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    ThrowErrno("write " + path);
}

std::string Lines(const std::vector<IdRange>& ranges) {
  std::string out;
  for (const IdRange& range : ranges)
    out +=
        std::to_string(range.inside) + " " + std::to_string(range.outside) + " " + std::to_string(range.count) + "\n";
  return out;
}

std::vector<std::string> HelperArguments(const char* helper, pid_t pid, const std::vector<IdRange>& ranges) {
  std::vector<std::string> out = {helper, std::to_string(pid)};
  for (const IdRange& range : ranges) {
    out.push_back(std::to_string(range.inside));
    out.push_back(std::to_string(range.outside));
    out.push_back(std::to_string(range.count));
  }
  return out;
}

bool SysctlIs(const char* path, std::string_view value) {
  try {
    const UniqueFd fd = OpenFile(path, O_RDONLY);
    return ReadAll(fd.get(), 64, path).starts_with(value);
  } catch (const Error&) {
    return false;
  }
}

int RunBody(const std::function<int()>& body) {
  // The identity outside is mapped to 0; becoming it makes new files owned by it and keeps all capabilities inside.
  if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
    return 1;
  try {
    return body();
  } catch (const std::exception&) {
    return 1;
  }
}

}  // namespace

bool IdMap::HasUid(uint32_t inside) const { return Has(uids, inside); }
bool IdMap::HasGid(uint32_t inside) const { return Has(gids, inside); }

uint32_t IdMap::OutsideUid(uint32_t inside) const {
  for (const IdRange& range : uids) {
    if (inside >= range.inside && inside - range.inside < range.count)
      return range.outside + (inside - range.inside);
  }
  return std::numeric_limits<uint32_t>::max();
}

std::string IdMap::Variant() const { return "u" + std::to_string(uids.back().outside); }

std::vector<IdRange> SubIdRanges(std::string_view text, const std::string& user, std::optional<uint32_t> id) {
  std::vector<IdRange> out;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t first = line.find(':');
    const size_t second = line.find(':', first == std::string_view::npos ? first : first + 1);
    if (second == std::string_view::npos)
      continue;
    const std::string_view owner = line.substr(0, first);
    const auto start = ParseDecimal<uint32_t>(line.substr(first + 1, second - first - 1));
    const auto count = ParseDecimal<uint32_t>(line.substr(second + 1));
    if ((owner != user && (!id || owner != std::to_string(*id))) || !start || !count || *count < kLeastRange)
      continue;
    if (*start == 0 || *start > kLastId || *count > kLastId - *start + 1)
      continue;
    out.push_back({1, *start, *count});
  }
  return out;
}

std::string ReadSubIds(const std::string& path) {
  try {
    return ReadFile(path, kMaxSubIdBytes);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kNotFound)
      return {};
    throw;
  }
}

IdMap PlanIdMap(const std::string& user, uid_t uid, gid_t gid, std::string_view subuid, std::string_view subgid) {
  IdMap map;
  map.uids = {{0, uid, 1}};
  map.gids = {{0, gid, 1}};
  const auto uids = FindRange(subuid, user, uid);
  const auto gids = FindRange(subgid, user, uid);
  if (!uids || !gids) {
    map.note = kNoRange + std::string(uids ? "/etc/subgid" : "/etc/subuid") + " has no range of at least " +
               std::to_string(kLeastRange) + " ids for " + Quoted(user) +
               " (an administrator adds one: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + user +
               ")";
    return map;
  }
  map.uids.push_back(*uids);
  map.gids.push_back(*gids);
  return map;
}

IdMap MapOfCaller() { return {{{0, geteuid(), 1}}, {{0, getegid(), 1}}, {}}; }

IdMap PlanIdMap() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  const std::string user = NameOnHost(uid);
  if (!InPath("newuidmap") || !InPath("newgidmap")) {
    IdMap map = PlanIdMap(user, uid, gid, {}, {});
    map.note = std::string(kNoRange) + "newuidmap and newgidmap are not installed (Debian package uidmap)";
    return map;
  }
  return PlanIdMap(user, uid, gid, ReadSubIds("/etc/subuid"), ReadSubIds("/etc/subgid"));
}

void ApplyIdMap(pid_t pid, const IdMap& map) {
  const bool privileged = geteuid() == 0;
  if (privileged || map.single()) {
    if (!privileged)
      WriteProc(pid, "setgroups", "deny");
    WriteProc(pid, "uid_map", Lines(map.uids));
    WriteProc(pid, "gid_map", Lines(map.gids));
    return;
  }
  // Two setuid programs of more than a millisecond each: side by side.
  Process uids = Process::Start(HelperArguments("newuidmap", pid, map.uids), {});
  Process gids = Process::Start(HelperArguments("newgidmap", pid, map.gids), {});
  const bool uids_set = uids.Wait().code == 0;
  const bool gids_set = gids.Wait().code == 0;
  if (!uids_set || !gids_set)
    throw Error(ErrorKind::kFailed, std::string(uids_set ? "newgidmap" : "newuidmap") + " could not map the ids",
                "see that /etc/subuid and /etc/subgid have a range for this user, and that newuidmap and newgidmap are "
                "setuid root or have file capabilities");
}

void ThrowNoUserNamespace(int error) {
  std::string hint = "run as root, or ask the administrator to allow user namespaces";
  if (SysctlIs("/proc/sys/kernel/unprivileged_userns_clone", "0"))
    hint = "an administrator allows them with: sysctl kernel.unprivileged_userns_clone=1";
  else if (SysctlIs("/proc/sys/user/max_user_namespaces", "0\n"))
    hint = "an administrator allows them with: sysctl user.max_user_namespaces=10000";
  else if (SysctlIs("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"))
    hint =
        "AppArmor restricts them: an administrator adds a profile with 'userns,' for this program, or sets sysctl "
        "kernel.apparmor_restrict_unprivileged_userns=0";
  else if (error == ENOSYS || error == EINVAL)
    hint = "this kernel is built without user namespaces: run as root";
  try {
    ThrowErrno("make a user namespace", error);
  } catch (const Error& plain) {
    throw Error(ErrorKind::kUnsupported, plain.message(), hint);
  }
}

ExitStatus RunInUserNamespace(const IdMap& map, const std::function<int()>& body) {
  auto ends = SocketPair(SOCK_SEQPACKET);
  const UniqueFd ours = std::move(ends.first);
  UniqueFd theirs = std::move(ends.second);
  Process child = Process::Fork([&]() -> int {
    const int parent = ours.get();
    close(parent);
    const int error = unshare(CLONE_NEWUSER) < 0 ? errno : 0;
    int go = 0;
    if (send(theirs.get(), &error, sizeof error, MSG_NOSIGNAL) < 0 || error != 0 ||
        recv(theirs.get(), &go, sizeof go, 0) != sizeof go)
      return 1;
    return RunBody(body);
  });
  theirs.Reset();
  int error = 0;
  if (recv(ours.get(), &error, sizeof error, 0) != sizeof error)
    throw Error(ErrorKind::kFailed, "the process for a user namespace ended early");
  if (error != 0)
    ThrowNoUserNamespace(error);
  ApplyIdMap(child.pid(), map);
  const int go = 1;
  if (send(ours.get(), &go, sizeof go, MSG_NOSIGNAL) < 0)
    ThrowErrno("start the process in a user namespace");
  return child.Wait();
}

}  // namespace gantry::runner
