#include "runner/user.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/process.h"

namespace gantry::runner {
namespace {

constexpr uint32_t kMaxId = 0xFFFFFFFE;  // -1 means "leave as it is" to the kernel

bool IsNumber(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<uint32_t> ParseId(std::string_view text) {
  const auto id = ParseDecimal<uint32_t>(text);
  return id && *id <= kMaxId ? id : std::nullopt;
}

// Empty when the image has no such file.
std::string ReadAccounts(const Dir& root, const std::string& path) {
  const auto fd = root.TryOpenInRoot(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd)
    return {};
  struct stat status {};
  if (fstat(fd->get(), &status) < 0)
    ThrowErrno("stat the image's " + path);
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorKind::kCorrupt, "the image's " + path + " is not a regular file", "choose --user by number");
  return ReadAll(fd->get(), kMaxAccountFileBytes, "the image's " + path);
}

// Calls `each` with the fields of every line that has at least `N`; stops when it returns true.
template <size_t N, typename Each>
void ForEachLine(std::string_view text, Each each) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    std::array<std::string_view, N> fields;
    size_t count = 0;
    for (; count < N; ++count) {
      const size_t colon = line.find(':');
      fields[count] = line.substr(0, colon);
      if (colon == std::string_view::npos) {
        ++count;
        break;
      }
      line.remove_prefix(colon + 1);
    }
    if (count == N && !fields[0].empty() && each(fields))
      return;
  }
}

struct PasswdEntry {
  std::string name;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string home;
};

std::optional<PasswdEntry> FindUser(std::string_view passwd, std::string_view user) {
  std::optional<PasswdEntry> found;
  const auto wanted = ParseId(user);
  ForEachLine<6>(passwd, [&](const std::array<std::string_view, 6>& field) {
    const auto uid = ParseId(field[2]);
    const auto gid = ParseId(field[3]);
    // A line with a damaged number is no entry, whoever it names.
    if (!uid || !gid || (wanted ? *uid != *wanted : field[0] != user))
      return false;
    found = PasswdEntry{std::string(field[0]), *uid, *gid, std::string(field[5])};
    return true;
  });
  return found;
}

std::optional<uint32_t> FindGroup(std::string_view groups, std::string_view name) {
  std::optional<uint32_t> found;
  ForEachLine<3>(groups, [&](const std::array<std::string_view, 3>& field) {
    if (field[0] == name)
      found = ParseId(field[2]);
    return found.has_value();
  });
  return found;
}

bool ListHas(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    if (item == name)
      return true;
    list.remove_prefix(std::min(list.size(), item.size() + 1));
  }
  return false;
}

std::vector<gid_t> GroupsOf(std::string_view groups, std::string_view user, gid_t own) {
  std::vector<gid_t> out;
  ForEachLine<4>(groups, [&](const std::array<std::string_view, 4>& field) {
    const auto gid = ParseId(field[2]);
    if (gid && *gid != own && ListHas(field[3], user))
      out.push_back(*gid);
    return out.size() > kMaxGroups;
  });
  if (out.size() > kMaxGroups)
    throw Error(ErrorKind::kCorrupt, "user " + Quoted(user) + " is in more than 1024 groups of the image");
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

[[noreturn]] void RefuseSpec(std::string_view spec) {
  throw Error(ErrorKind::kUsage, "user " + Quoted(spec) + " is not USER, UID, USER:GROUP or UID:GID",
              "ids are digits only, at most 4294967294");
}

void CheckSpelling(std::string_view spec, std::string_view part) {
  if (part.empty() || part.find(':') != std::string_view::npos || (IsNumber(part) && !ParseId(part)) ||
      part.find('\n') != std::string_view::npos || part.front() == '-' || part.front() == '+')
    RefuseSpec(spec);
}

// `read_group` gives the text of the group file, when it is needed.
template <typename ReadGroup>
Credentials Resolve(const std::string& passwd, ReadGroup read_group, std::string_view spec) {
  const size_t colon = spec.find(':');
  const bool has_group = colon != std::string_view::npos;
  const std::string_view user = spec.empty() ? "0" : spec.substr(0, colon);
  const std::string_view group = has_group ? spec.substr(colon + 1) : std::string_view();
  CheckSpelling(spec, user);
  if (has_group)
    CheckSpelling(spec, group);

  const auto entry = FindUser(passwd, user);
  if (!entry && !IsNumber(user))
    throw Error(ErrorKind::kNotFound, "the image has no user " + Quoted(user),
                "its /etc/passwd does not name it; give --user UID[:GID]");
  Credentials out;
  out.uid = entry ? entry->uid : *ParseId(user);
  out.gid = entry ? entry->gid : 0;
  if (out.uid == 0)
    out.home = "/root";
  if (entry && entry->home.starts_with('/') && entry->home.find('\0') == std::string::npos)
    out.home = entry->home;
  if (has_group) {
    const auto gid = IsNumber(group) ? ParseId(group) : FindGroup(read_group(), group);
    if (!gid)
      throw Error(ErrorKind::kNotFound, "the image has no group " + Quoted(group),
                  "its /etc/group does not name it; give --user UID:GID");
    out.gid = *gid;
  } else if (entry) {
    out.groups = GroupsOf(read_group(), entry->name, out.gid);
  }
  return out;
}

}  // namespace

uint64_t OwnCapabilities() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) < 0)
    ThrowErrno("read our capabilities");
  return data[0].permitted | uint64_t{data[1].permitted} << 32;
}

std::string NameOnHost(uid_t uid) {
  std::string number = std::to_string(uid);
  try {
    if (const auto entry = FindUser(ReadFile("/etc/passwd", kMaxAccountFileBytes), number))
      return entry->name;
    const Captured services = RunCaptured({"getent", "passwd", number}, {}, kMaxAccountFileBytes);
    if (const auto entry = FindUser(services.output, number))
      return entry->name;
  } catch (const Error&) {
    // nobody knows
  }
  return number;
}

Credentials ResolveUser(const Dir& root, std::string_view spec) {
  return Resolve(
      ReadAccounts(root, "etc/passwd"), [&] { return ReadAccounts(root, "etc/group"); }, spec);
}

Credentials ResolveUser(const AccountFiles& files, std::string_view spec) {
  return Resolve(
      files.passwd, [&]() -> const std::string& { return files.group; }, spec);
}

}  // namespace gantry::runner
