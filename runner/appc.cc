#include "runner/appc.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "runner/filter_compiler.h"
#include "runner/seccomp_profile.h"
#include "runner/syscall_table.h"

namespace gantry::runner {
namespace {

using json::Array;
using json::Cursor;
using json::Object;

constexpr size_t kMaxNames = 4096;
constexpr uint64_t kCpuPeriod = 100'000;
constexpr uint64_t kMostCpu = 1'000'000'000;  // thousandths of a processor
constexpr uint64_t kAny = ~uint64_t{0} >> 1;

// What gantry-init calls between the loading of the filter and the end of the app.
constexpr const char* kNeededByInit[] = {
    "access",       "capget",
    "capset",       "chdir",
    "clone",        "clone3",
    "close",        "close_range",
    "dup2",         "dup3",
    "execve",       "exit",
    "exit_group",   "faccessat",
    "faccessat2",   "fcntl",
    "fchown",       "fork",
    "fstat",        "getcwd",
    "getpid",       "gettid",
    "ioctl",        "kill",
    "mmap",         "munmap",
    "newfstatat",   "open",
    "openat",       "prctl",
    "pread64",      "read",
    "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "rt_sigtimedwait",
    "sendto",       "set_robust_list",
    "setgroups",    "setresgid",
    "setresuid",    "setrlimit",
    "prlimit64",    "setsid",
    "umask",        "vfork",
    "wait4",        "waitid",
    "write",        "brk",
    "arch_prctl",   "set_tid_address",
    "rseq",         "getrandom",
};

uint64_t Bit(int capability) { return uint64_t{1} << capability; }

std::vector<std::string> SetOf(const Cursor& value) { return value.At("set").Strings(kMaxNames); }

// Those that are known; the others are told.
uint64_t Capabilities(const Cursor& value, const std::string& isolator, std::vector<std::string>& ignored) {
  uint64_t out = 0;
  for (const std::string& name : SetOf(value)) {
    if (const auto capability = ParseCapability(name))
      out |= Bit(*capability);
    else
      ignored.push_back("capability " + Quoted(name) + " of isolator " + Quoted(isolator));
  }
  return out;
}

std::string Names(uint64_t set) {
  std::string out;
  for (int i = 0; i < 64; ++i) {
    if ((set >> i & 1) != 0)
      out += (out.empty() ? "" : " ") + CapabilityName(i);
  }
  return out;
}

// A quantity as a string, or a plain number.
uint64_t Thousandths(const Cursor& at) {
  if (at.value().string() == nullptr)
    return at.Unsigned(kAny / 1000) * 1000;
  try {
    return ParseQuantity(at.String());
  } catch (const Error& error) {
    at.Fail(error.message());
  }
}

struct Taker {
  RunOptions& options;
  std::vector<std::string>& ignored;

  void Retain(const Cursor& value, const std::string& name) const {
    uint64_t more = 0;
    for (const std::string& added : options.cap_add) {
      if (const auto capability = ParseCapability(added))
        more |= Bit(*capability);
    }
    const uint64_t wanted = Capabilities(value, name, ignored);
    const uint64_t refused = wanted & ~(kDefaultCapabilities | more);
    if (refused != 0)
      ignored.push_back("capabilities " + Names(refused) + " of isolator " + Quoted(name) +
                        ", which --cap-add would give");
    options.capabilities = options.capabilities.value_or(kDefaultCapabilities) & wanted;
  }
  void Remove(const Cursor& value, const std::string& name) const {
    options.capabilities = options.capabilities.value_or(kDefaultCapabilities) & ~Capabilities(value, name, ignored);
  }
  void Seccomp(const Cursor& value, bool retain) const {
    const auto error = value.Find("errno");
    const std::vector<std::string> names = SetOf(value);
    if (names.empty())
      value.At("set").Fail("expected the name of a system call, or of a set of them");
    if (options.filter.kind != Filter::Kind::kDefault)
      return;
    if (const auto filter = AppcFilter(retain, names, error ? error->String() : "", ignored))
      options.filter = {Filter::Kind::kProfile, CompileFilter(*filter)};
  }
  void NoNewPrivileges(const Cursor& value) const {
    // False would loosen.
    if (!value.Bool())
      ignored.emplace_back(
          "isolator 'os/linux/no-new-privileges' that is false: --security-opt no-new-privileges=false");
  }
  void Memory(const Cursor& value) const {
    if (const auto limit = value.Find("limit"); limit && !options.limits.memory)
      options.limits.memory = static_cast<int64_t>(Thousandths(*limit) / 1000);
    if (const auto request = value.Find("request"); request && !options.limits.memory_reservation)
      options.limits.memory_reservation = static_cast<int64_t>(Thousandths(*request) / 1000);
  }
  void Cpu(const Cursor& value) const {
    if (const auto limit = value.Find("limit"); limit && !options.limits.cpu_microseconds)
      options.limits.cpu_microseconds = std::min(Thousandths(*limit), kMostCpu) * (kCpuPeriod / 1000);
    if (const auto request = value.Find("request"); request && !options.limits.cpu_shares)
      options.limits.cpu_shares = std::max<uint64_t>(2, std::min(Thousandths(*request), kMostCpu) * 1024 / 1000);
  }
  void OomScore(const Cursor& value) const {
    const auto adjustment = static_cast<int>(value.Integer(-1000, 1000));
    // Less would have others killed in its place.
    if (adjustment < 0 && !options.oom_score_adj)
      ignored.emplace_back("isolator 'os/linux/oom-score-adj' that is negative, which --oom-score-adj would give");
    else
      options.oom_score_adj = options.oom_score_adj.value_or(adjustment);
  }
  void Selinux(const Cursor& value) const {
    std::string label;
    for (const char* part : {"user", "role", "type", "level"})
      label += (label.empty() ? "" : ":") + value.At(part).String();
    if (options.selinux.empty())
      options.selinux = label;
  }
};

bool TakeIsolator(const std::string& name, const Cursor& value, const Taker& taker) {
  RunOptions& options = taker.options;
  if (name == "os/linux/capabilities-retain-set")
    taker.Retain(value, name);
  else if (name == "os/linux/capabilities-remove-set")
    taker.Remove(value, name);
  else if (name == "os/linux/seccomp-retain-set" || name == "os/linux/seccomp-remove-set")
    taker.Seccomp(value, name.ends_with("retain-set"));
  else if (name == "os/linux/no-new-privileges")
    taker.NoNewPrivileges(value);
  else if (name == "resource/memory")
    taker.Memory(value);
  else if (name == "resource/cpu")
    taker.Cpu(value);
  else if (name == "os/linux/selinux-context")
    taker.Selinux(value);
  else if (name == "os/linux/apparmor-profile")
    options.apparmor = options.apparmor.empty() ? value.At("profile").String() : options.apparmor;
  else if (name == "os/linux/oom-score-adj")
    taker.OomScore(value);
  else if (name == "os/linux/cpu-shares")
    options.limits.cpu_shares = options.limits.cpu_shares.value_or(value.Unsigned(262'144));
  else
    return false;
  return true;
}

// Of those that are whole by themselves a second one says the contrary.
void RequireOneOfEach(const image::AciApp& app) {
  for (const std::string_view kind : {"os/linux/seccomp-", "os/linux/selinux-context", "os/linux/apparmor-profile"}) {
    const auto count =
        std::ranges::count_if(app.isolators, [&](const auto& isolator) { return isolator.first.starts_with(kind); });
    if (count > 1)
      throw Error(ErrorKind::kCorrupt, "the app has " + std::to_string(count) + " isolators " + Quoted(kind),
                  "there may be one of them, and of seccomp's either a set to retain or one to remove");
  }
}

void TakeHandlers(const image::AciApp& app, RunOptions& options) {
  for (const image::AciEventHandler& handler : app.event_handlers) {
    if (handler.exec.empty())
      throw Error(ErrorKind::kCorrupt, "event handler " + Quoted(handler.name) + " has nothing to execute");
    (handler.name == "pre-start" ? options.pre_start : options.post_stop).push_back({handler.exec});
  }
}

// The argument conditions of the default filter (seccomp_generator.cc).
void AddConditional(const SyscallEntry& entry, Array& rules) {
  const auto add = [&](const char* op, uint64_t value, std::optional<uint64_t> two = std::nullopt) {
    Object condition{{"index", 0}, {"op", op}, {"value", value}};
    if (two)
      condition.Append("valueTwo", *two);
    rules.emplace_back(
        Object{{"names", Array{entry.name}}, {"action", "SCMP_ACT_ALLOW"}, {"args", Array{std::move(condition)}}});
  };
  switch (entry.rule) {
    case SyscallRule::kClone:
      add("SCMP_CMP_MASKED_EQ", kCloneNamespaceFlags, 0);
      break;
    case SyscallRule::kSocket:
      for (const SocketFamilies& some : kFamilies) add("SCMP_CMP_MASKED_EQ", some.mask, some.value);
      break;
    case SyscallRule::kPersonality:
      for (const uint64_t persona : {0x0UL, 0x8UL, 0x20000UL, 0x20008UL, 0xFFFFFFFFUL}) add("SCMP_CMP_EQ", persona);
      break;
    default:
      break;
  }
}

std::optional<int> ErrnoOf(const std::string& name) {
  for (int i = 1; i < 134; ++i) {
    const char* known = strerrorname_np(i);
    if (known != nullptr && name == known)
      return i;
  }
  return std::nullopt;
}

// The set that a name with '@' stands for; false when it is none of ours.
bool Expand(const std::string& name, std::set<std::string>& into) {
  if (name != "@docker/default-whitelist" && name != "@rkt/default-whitelist")
    return false;
  for (const SyscallEntry& entry : DefaultProfile()) into.insert(entry.name);
  return true;
}

std::set<std::string> NamedCalls(const std::vector<std::string>& names, std::vector<std::string>& ignored) {
  std::set<std::string> out;
  for (const std::string& name : names) {
    if (!name.starts_with('@'))
      out.insert(name);
    else if (!Expand(name, out))
      ignored.push_back("set " + Quoted(name) + " of a seccomp isolator");
  }
  return out;
}

bool IsCall(const std::string& name) {
  return std::ranges::any_of(SyscallArchitectures(), [&](const SyscallArchitecture& architecture) {
    return std::ranges::binary_search(architecture.calls, std::string_view(name), {}, &SyscallNumber::name);
  });
}

// Of the calls that the set names, those that it does not decide about. To retain what this machine has not is
// harmless.
void TellUndecided(bool retain, const std::vector<std::string>& names, std::vector<std::string>& ignored) {
  std::set<std::string> allowed;
  for (const SyscallEntry& entry : DefaultProfile()) {
    if (entry.rule != SyscallRule::kNoSys)
      allowed.insert(entry.name);
  }
  std::string unknown, undecided;
  for (const std::string& name : names) {
    if (name.starts_with('@'))
      continue;
    if (!retain && !IsCall(name))
      unknown += " " + name;
    else if (retain ? IsCall(name) && !allowed.contains(name)
                    : std::ranges::find(kNeededByInit, name) != std::end(kNeededByInit))
      undecided += " " + name;
  }
  if (!unknown.empty())
    ignored.push_back("system calls of isolator 'os/linux/seccomp-remove-set' that this machine has not:" + unknown);
  if (!undecided.empty() && retain)
    ignored.push_back("system calls of isolator 'os/linux/seccomp-retain-set' that no container may make by default:" +
                      undecided + "; --security-opt seccomp= says which");
  if (!undecided.empty() && !retain)
    ignored.push_back("removal, by isolator 'os/linux/seccomp-remove-set', of what process 1 needs to start the app:" +
                      undecided);
}

Object Refusal(const std::string& error, std::vector<std::string>& ignored) {
  if (error.empty())
    return {{"action", "SCMP_ACT_KILL_PROCESS"}};
  const auto number = ErrnoOf(error);
  if (!number)
    ignored.push_back("errno " + Quoted(error) + " of a seccomp isolator; EPERM in its place");
  return {{"action", "SCMP_ACT_ERRNO"}, {"errnoRet", number.value_or(EPERM)}};
}

}  // namespace

uint64_t ParseQuantity(std::string_view text) {
  constexpr std::pair<std::string_view, uint64_t> kSuffixes[] = {{"Ki", 1ULL << 10},
                                                                 {"Mi", 1ULL << 20},
                                                                 {"Gi", 1ULL << 30},
                                                                 {"Ti", 1ULL << 40},
                                                                 {"k", 1000},
                                                                 {"K", 1000},
                                                                 {"M", 1000'000},
                                                                 {"G", 1000'000'000},
                                                                 {"T", 1000'000'000'000},
                                                                 {"P", 1000'000'000'000'000},
                                                                 {"E", 1000'000'000'000'000'000},
                                                                 {"Pi", 1ULL << 50},
                                                                 {"Ei", 1ULL << 60},
                                                                 {"", 1}};
  const auto fail = [&]() -> uint64_t {
    throw Error(ErrorKind::kCorrupt, "expected a quantity like '500m' or '1Gi', found " + Quoted(text));
  };
  std::string_view number = text;
  if (number.ends_with('m')) {
    number.remove_suffix(1);
    const auto milli = ParseDecimal<uint64_t>(number);
    return milli ? *milli : fail();
  }
  const auto* const suffix =
      std::ranges::find_if(kSuffixes, [&](const auto& one) { return number.ends_with(one.first); });
  number.remove_suffix(suffix->first.size());
  const size_t point = std::min(number.find('.'), number.size());
  std::string fraction(number.substr(std::min(point + 1, number.size())));
  if (fraction.size() > 3)
    return fail();
  fraction.resize(3, '0');
  const auto whole = ParseDecimal<uint64_t>(number.substr(0, point));
  const auto rest = ParseDecimal<uint64_t>(fraction);
  if (!whole || !rest)
    return fail();
  // More than anybody can have.
  if (*whole >= kAny / 1000 / suffix->second)
    return kAny;
  return (*whole * 1000 + *rest) * suffix->second;
}

std::optional<SpecSeccomp> AppcFilter(bool retain, const std::vector<std::string>& names, const std::string& error,
                                      std::vector<std::string>& ignored) {
  const auto has = [&](const char* name) { return std::ranges::find(names, name) != names.end(); };
  if (retain && has("@appc.io/all"))
    ignored.emplace_back(
        "all system calls, which --security-opt seccomp=unconfined gives; it keeps the default filter");
  if (retain ? has("@appc.io/all") : has("@appc.io/empty"))
    return std::nullopt;
  std::set<std::string> set = NamedCalls(names, ignored);
  TellUndecided(retain, names, ignored);
  const std::set<std::string> needed(std::begin(kNeededByInit), std::end(kNeededByInit));
  Array rules;
  Array allowed;
  Array removed;
  for (const SyscallEntry& entry : DefaultProfile()) {
    const bool named = set.erase(entry.name) != 0;
    if (named != retain && !needed.contains(entry.name)) {
      removed.emplace_back(entry.name);
    } else if (entry.rule == SyscallRule::kAllow) {
      allowed.emplace_back(entry.name);
    } else if (entry.rule == SyscallRule::kNoSys) {
      rules.emplace_back(Object{{"names", Array{entry.name}}, {"action", "SCMP_ACT_ERRNO"}, {"errnoRet", ENOSYS}});
    } else {
      AddConditional(entry, rules);
    }
  }
  if (!retain)
    removed.insert(removed.end(), set.begin(), set.end());  // the default does not have them either
  const Object refusal = Refusal(error, ignored);
  Object profile;
  // What nobody named is, of a set that retains, refused as the isolator says; of one that removes as by default.
  const Object rest = retain || !error.empty() ? refusal : Refusal("EPERM", ignored);
  profile.Append("defaultAction", *rest.Find("action"));
  if (const json::Value* number = rest.Find("errnoRet"))
    profile.Append("defaultErrnoRet", *number);
  rules.emplace_back(Object{{"names", std::move(allowed)}, {"action", "SCMP_ACT_ALLOW"}});
  if (!removed.empty()) {
    Object rule = refusal;
    rule.Append("names", std::move(removed));
    rules.emplace_back(std::move(rule));
  }
  profile.Append("syscalls", std::move(rules));
  const json::Value document(std::move(profile));
  return ParseSpecSeccomp(Cursor(document, "the filter of the isolator"));
}

void AddAppc(const image::AciApp& app, RunOptions& options, std::vector<std::string>& ignored) {
  RequireOneOfEach(app);
  const Taker taker{options, ignored};
  for (const auto& [name, value] : app.isolators) {
    if (!TakeIsolator(name, Cursor(value, "isolator " + Quoted(name)), taker))
      ignored.push_back("isolator " + Quoted(name));
  }
  TakeHandlers(app, options);
  for (const int64_t gid : app.supplementary_gids) {
    if (gid < 0 || gid > int64_t{kMaxSpecId})
      throw Error(ErrorKind::kCorrupt, "the app has a supplementary group " + std::to_string(gid));
    options.groups.push_back(static_cast<uint32_t>(gid));
  }
  for (const image::AciMountPoint& point : app.mount_points)
    options.mount_points.push_back({point.name, image::CleanAbsolute(point.path), point.read_only});
}

}  // namespace gantry::runner
