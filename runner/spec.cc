#include "runner/spec.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <limits>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/model/execution.h"

namespace gantry::runner {
namespace {

constexpr int kMaxOomScore = 1000;
constexpr int kIoPriorityShift = 13;
constexpr size_t kMaxCpuListBytes = 64 * 1024;
constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

// In the order of their numbers.
constexpr std::string_view kCapabilities[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};
static_assert(std::size(kCapabilities) == CAP_CHECKPOINT_RESTORE + 1);

struct Named {
  std::string_view name;
  int value;
};
constexpr Named kLimits[] = {
    {"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},       {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},   {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK},
};
constexpr Named kPolicies[] = {{"SCHED_OTHER", SCHED_OTHER}, {"SCHED_FIFO", SCHED_FIFO}, {"SCHED_RR", SCHED_RR},
                               {"SCHED_BATCH", SCHED_BATCH}, {"SCHED_IDLE", SCHED_IDLE}, {"SCHED_DEADLINE", 6}};
constexpr Named kPolicyFlags[] = {{"SCHED_FLAG_RESET_ON_FORK", 1},  {"SCHED_FLAG_RECLAIM", 2},
                                  {"SCHED_FLAG_DL_OVERRUN", 4},     {"SCHED_FLAG_KEEP_POLICY", 8},
                                  {"SCHED_FLAG_KEEP_PARAMS", 16},   {"SCHED_FLAG_UTIL_CLAMP_MIN", 32},
                                  {"SCHED_FLAG_UTIL_CLAMP_MAX", 64}};
constexpr Named kIoClasses[] = {{"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};

int ValueOf(std::span<const Named> table, const json::Cursor& at, std::string_view what) {
  const std::string& name = at.String();
  const auto found = std::ranges::find(table, name, &Named::name);
  if (found == table.end())
    at.Fail("expected " + std::string(what) + ", found " + Quoted(name));
  return found->value;
}

std::string Text(const json::Cursor& at) {
  const std::string& text = at.String();
  if (text.find('\0') != std::string::npos)
    at.Fail("expected a text without NUL bytes");
  return text;
}

std::vector<std::string> Texts(const json::Cursor& at, size_t max_count) {
  std::vector<std::string> out;
  for (const json::Cursor& element : at.Elements(max_count)) out.push_back(Text(element));
  return out;
}

uint32_t Id(const json::Cursor& at) { return static_cast<uint32_t>(at.Unsigned(kMaxSpecId)); }

template <typename Take>
void IfThere(const json::Cursor& at, std::string_view key, Take take) {
  if (const auto found = at.Find(key))
    take(*found);
}

SpecUser ParseUser(const json::Cursor& at) {
  SpecUser out;
  IfThere(at, "uid", [&](const json::Cursor& c) { out.uid = Id(c); });
  IfThere(at, "gid", [&](const json::Cursor& c) { out.gid = Id(c); });
  IfThere(at, "umask", [&](const json::Cursor& c) { out.umask = static_cast<uint32_t>(c.Unsigned(0777)); });
  IfThere(at, "additionalGids", [&](const json::Cursor& c) {
    for (const json::Cursor& gid : c.Elements(kMaxSpecItems)) out.groups.push_back(Id(gid));
  });
  return out;
}

// A set that names what this kernel's headers do not know is refused, not reduced.
uint64_t ParseSet(const json::Cursor& at) {
  uint64_t out = 0;
  for (const json::Cursor& name : at.Elements(kMaxSpecItems)) {
    const auto capability = ParseCapability(name.String());
    if (!capability)
      name.Fail("unknown capability " + Quoted(name.String()));
    out |= uint64_t{1} << *capability;
  }
  return out;
}

SpecCapabilities ParseCapabilities(const json::Cursor& at) {
  SpecCapabilities out;
  IfThere(at, "bounding", [&](const json::Cursor& c) { out.bounding = ParseSet(c); });
  IfThere(at, "effective", [&](const json::Cursor& c) { out.effective = ParseSet(c); });
  IfThere(at, "permitted", [&](const json::Cursor& c) { out.permitted = ParseSet(c); });
  IfThere(at, "inheritable", [&](const json::Cursor& c) { out.inheritable = ParseSet(c); });
  IfThere(at, "ambient", [&](const json::Cursor& c) { out.ambient = ParseSet(c); });
  return out;
}

std::vector<SpecLimit> ParseLimits(const json::Cursor& at) {
  std::vector<SpecLimit> out;
  for (const json::Cursor& limit : at.Elements(kMaxSpecItems)) {
    const int resource = ValueOf(kLimits, limit.At("type"), "a resource of getrlimit(2)");
    if (std::ranges::find(out, resource, &SpecLimit::resource) != out.end())
      limit.Fail("expected each resource once");
    const uint64_t soft = limit.At("soft").Unsigned(kAny);
    const uint64_t hard = limit.At("hard").Unsigned(kAny);
    out.push_back({resource, soft, hard});
  }
  return out;
}

SpecScheduler ParseScheduler(const json::Cursor& at) {
  SpecScheduler out;
  out.policy = static_cast<uint32_t>(ValueOf(kPolicies, at.At("policy"), "a policy of sched(7)"));
  IfThere(at, "nice", [&](const json::Cursor& c) { out.nice = static_cast<int32_t>(c.Integer(-20, 19)); });
  IfThere(at, "priority", [&](const json::Cursor& c) { out.priority = static_cast<uint32_t>(c.Integer(0, 99)); });
  IfThere(at, "flags", [&](const json::Cursor& c) {
    for (const json::Cursor& flag : c.Elements(kMaxSpecItems))
      out.flags |= static_cast<uint64_t>(ValueOf(kPolicyFlags, flag, "a flag of sched_setattr(2)"));
  });
  IfThere(at, "runtime", [&](const json::Cursor& c) { out.runtime = c.Unsigned(kMost); });
  IfThere(at, "deadline", [&](const json::Cursor& c) { out.deadline = c.Unsigned(kMost); });
  IfThere(at, "period", [&](const json::Cursor& c) { out.period = c.Unsigned(kMost); });
  return out;
}

int ParseIoPriority(const json::Cursor& at) {
  const int kind = ValueOf(kIoClasses, at.At("class"), "a class of ioprio_set(2)");
  int64_t priority = 0;
  IfThere(at, "priority", [&](const json::Cursor& c) { priority = c.Integer(0, 7); });
  return static_cast<int>((kind << kIoPriorityShift) | priority);
}

// "0-3,7".
CpuSet ParseCpuSet(const json::Cursor& at) {
  CpuSet out;
  const std::string& list = at.String(kMaxCpuListBytes);
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view range = Trimmed(std::string_view(list).substr(begin, end - begin));
    begin = end + 1;
    const size_t dash = range.find('-');
    const auto first = ParseDecimal<uint64_t>(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : ParseDecimal<uint64_t>(range.substr(dash + 1));
    if (!first || !last || *first > *last || *last > kMaxSpecCpu)
      at.Fail("expected a list of processors like '0-3,7'");
    out.resize(std::max<size_t>(out.size(), *last / 64 + 1));
    for (uint64_t cpu = *first; cpu <= *last; ++cpu) out[cpu / 64] |= uint64_t{1} << cpu % 64;
  }
  return out;
}

std::pair<uint16_t, uint16_t> ParseConsoleSize(const json::Cursor& at) {
  constexpr uint64_t kMax = std::numeric_limits<uint16_t>::max();
  const auto height = static_cast<uint16_t>(at.At("height").Unsigned(kMax));
  return {height, static_cast<uint16_t>(at.At("width").Unsigned(kMax))};
}

std::vector<SpecHook> ParseHooks(const json::Cursor& at, std::string_view kind) {
  std::vector<SpecHook> out;
  IfThere(at, kind, [&](const json::Cursor& list) {
    for (const json::Cursor& hook : list.Elements(kMaxSpecHooks)) {
      SpecHook one;
      one.path = ParseSpecPath(hook.At("path"));
      IfThere(hook, "args", [&](const json::Cursor& c) { one.args = Texts(c, kMaxSpecItems); });
      IfThere(hook, "env", [&](const json::Cursor& c) { one.env = Texts(c, kMaxSpecItems); });
      IfThere(hook, "timeout", [&](const json::Cursor& c) {
        one.timeout = static_cast<uint32_t>(c.Integer(1, std::numeric_limits<int32_t>::max() / 1000));
      });
      if (one.args.empty())
        one.args = {one.path};
      out.push_back(std::move(one));
    }
  });
  return out;
}

SpecHooks ParseAllHooks(const json::Cursor& at) {
  return {.prestart = ParseHooks(at, "prestart"),
          .create_runtime = ParseHooks(at, "createRuntime"),
          .create_container = ParseHooks(at, "createContainer"),
          .start_container = ParseHooks(at, "startContainer"),
          .poststart = ParseHooks(at, "poststart"),
          .poststop = ParseHooks(at, "poststop")};
}

// Three numbers, and after them what semantic versioning allows.
bool IsVersion(std::string_view text) {
  for (int number = 0; number < 3; ++number) {
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == 0 || (number < 2 && (digits == text.size() || text[digits] != '.')))
      return false;
    text.remove_prefix(number < 2 ? digits + 1 : digits);
  }
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '+'; };
  return text.empty() || ((text.front() == '-' || text.front() == '+') && std::ranges::all_of(text, allowed));
}

std::string ParseVersion(const json::Cursor& at) {
  const std::string& version = at.String();
  if (version.size() > 64 || !IsVersion(version))
    at.Fail("expected a version like '1.1.0'");
  if (!version.starts_with("1."))
    throw Error(ErrorKind::kUnsupported,
                "the bundle is of version " + Quoted(version) + " of the runtime specification",
                "this runtime knows all of version 1");
  return version;
}

}  // namespace

std::optional<int> ParseLimitName(std::string_view name) {
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (!upper.starts_with("RLIMIT_"))
    upper.insert(0, "RLIMIT_");
  const auto* const found = std::ranges::find(kLimits, upper, &Named::name);
  return found == std::end(kLimits) ? std::nullopt : std::optional(found->value);
}

std::string LimitName(int resource) {
  const auto* const found = std::ranges::find(kLimits, resource, &Named::value);
  return found == std::end(kLimits) ? std::to_string(resource) : std::string(found->name);
}

std::optional<int> ParseCapability(std::string_view name) {
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string_view plain = upper;
  if (plain.starts_with("CAP_"))
    plain.remove_prefix(4);
  const auto* const found = std::ranges::find(kCapabilities, plain);
  if (found == std::end(kCapabilities))
    return std::nullopt;
  return static_cast<int>(found - std::begin(kCapabilities));
}

std::string CapabilityName(int capability) {
  const bool known = capability >= 0 && static_cast<size_t>(capability) < std::size(kCapabilities);
  return known ? "CAP_" + std::string(kCapabilities[capability]) : "";
}

std::string ParseSpecPath(const json::Cursor& at) {
  const std::string path = Text(at);
  if (!path.starts_with('/'))
    at.Fail("expected an absolute path, found " + Quoted(path));
  return image::CleanAbsolute(path);
}

SpecProcess ParseSpecProcess(const json::Cursor& at) {
  SpecProcess out;
  IfThere(at, "terminal", [&](const json::Cursor& c) { out.terminal = c.Bool(); });
  IfThere(at, "consoleSize", [&](const json::Cursor& c) { out.console_size = ParseConsoleSize(c); });
  IfThere(at, "user", [&](const json::Cursor& c) { out.user = ParseUser(c); });
  IfThere(at, "args", [&](const json::Cursor& c) { out.args = Texts(c, kMaxSpecArguments); });
  if (out.args.empty() || out.args.front().empty())
    at.Fail("expected args with a program to execute");
  IfThere(at, "env", [&](const json::Cursor& c) { out.env = Texts(c, kMaxSpecArguments); });
  out.cwd = ParseSpecPath(at.At("cwd"));
  IfThere(at, "rlimits", [&](const json::Cursor& c) { out.limits = ParseLimits(c); });
  IfThere(at, "capabilities", [&](const json::Cursor& c) { out.capabilities = ParseCapabilities(c); });
  IfThere(at, "noNewPrivileges", [&](const json::Cursor& c) { out.no_new_privileges = c.Bool(); });
  IfThere(at, "oomScoreAdj",
          [&](const json::Cursor& c) { out.oom_score_adj = static_cast<int>(c.Integer(-kMaxOomScore, kMaxOomScore)); });
  IfThere(at, "scheduler", [&](const json::Cursor& c) { out.scheduler = ParseScheduler(c); });
  IfThere(at, "ioPriority", [&](const json::Cursor& c) { out.io_priority = ParseIoPriority(c); });
  IfThere(at, "execCPUAffinity", [&](const json::Cursor& affinity) {
    IfThere(affinity, "initial", [&](const json::Cursor& c) { out.first_affinity = ParseCpuSet(c); });
    IfThere(affinity, "final", [&](const json::Cursor& c) { out.final_affinity = ParseCpuSet(c); });
  });
  IfThere(at, "apparmorProfile", [&](const json::Cursor& c) { out.apparmor_profile = Text(c); });
  IfThere(at, "selinuxLabel", [&](const json::Cursor& c) { out.selinux_label = Text(c); });
  return out;
}

const SpecNamespace* Spec::Namespace(int flag) const {
  const auto found = std::ranges::find(namespaces, flag, &SpecNamespace::flag);
  return found == namespaces.end() ? nullptr : &*found;
}

bool Spec::NewNamespace(int flag) const {
  const SpecNamespace* found = Namespace(flag);
  return found != nullptr && found->path.empty();
}

namespace {

// An image may ask for a wall that is thicker than namespaces; it is not to get a thinner one.
void RequireKnownIsolation(const std::map<std::string, std::string>& annotations) {
  const auto isolation = annotations.find(kIsolationAnnotation);
  if (isolation != annotations.end() && isolation->second != "namespaces" && isolation->second != "vm")
    throw Error(ErrorKind::kUnsupported,
                "the bundle wants isolation " + Quoted(isolation->second) + " (annotation dev.gantry.isolation)",
                "say namespaces or vm");
}

}  // namespace

Spec Spec::Parse(std::string_view text, std::string_view what) {
  if (text.size() > kMaxSpecBytes)
    throw Error(ErrorKind::kCorrupt, std::string(what) + ": longer than 16 MiB");
  const json::Value document = json::Parse(text, what);
  const json::Cursor top(document, std::string(what));
  Spec out;
  out.version = ParseVersion(top.At("ociVersion"));
  const json::Cursor root = top.At("root");
  out.root = Text(root.At("path"));
  if (out.root.empty())
    root.At("path").Fail("expected the path of a directory");
  IfThere(root, "readonly", [&](const json::Cursor& c) { out.root_read_only = c.Bool(); });
  IfThere(top, "process", [&](const json::Cursor& c) { out.process = ParseSpecProcess(c); });
  IfThere(top, "hostname", [&](const json::Cursor& c) { out.hostname = Text(c); });
  IfThere(top, "domainname", [&](const json::Cursor& c) { out.domainname = Text(c); });
  IfThere(top, "mounts", [&](const json::Cursor& c) { out.mounts = ParseSpecMounts(c); });
  IfThere(top, "hooks", [&](const json::Cursor& c) { out.hooks = ParseAllHooks(c); });
  IfThere(top, "annotations", [&](const json::Cursor& c) { out.annotations = c.StringMap(kMaxSpecItems); });
  RequireKnownIsolation(out.annotations);
  if (const auto linux_part = top.Find("linux"))
    ParseSpecLinux(*linux_part, out);
  if (!out.hostname.empty() && out.Namespace(CLONE_NEWUTS) == nullptr)
    top.At("hostname").Fail("expected a uts namespace for a host name of one's own");
  if (!out.domainname.empty() && out.Namespace(CLONE_NEWUTS) == nullptr)
    top.At("domainname").Fail("expected a uts namespace for a domain name of one's own");
  return out;
}

}  // namespace gantry::runner
