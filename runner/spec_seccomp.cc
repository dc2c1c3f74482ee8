#include "runner/spec_seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <span>

#include "libimage/base/error.h"

namespace gantry::runner {
namespace {

constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
constexpr uint32_t kMaxErrno = 4095;

struct Named {
  std::string_view name;
  uint32_t value;
};
constexpr Named kActions[] = {
    {"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW},
    {"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO},
    {"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD},
    {"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS},
    {"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD},
    {"SCMP_ACT_LOG", SECCOMP_RET_LOG},
    {"SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF},
    {"SCMP_ACT_TRACE", SECCOMP_RET_TRACE},
    {"SCMP_ACT_TRAP", SECCOMP_RET_TRAP},
};
using Operator = SeccompCondition::Operator;
struct NamedOperator {
  std::string_view name;
  Operator op;
};
constexpr NamedOperator kOperators[] = {
    {"SCMP_CMP_EQ", Operator::kEqual},    {"SCMP_CMP_GE", Operator::kGreaterOrEqual},
    {"SCMP_CMP_GT", Operator::kGreater},  {"SCMP_CMP_LE", Operator::kLessOrEqual},
    {"SCMP_CMP_LT", Operator::kLess},     {"SCMP_CMP_MASKED_EQ", Operator::kMaskedEqual},
    {"SCMP_CMP_NE", Operator::kNotEqual},
};
// A single thread loads the filter: TSYNC, which is for the others, asks for what is so anyway.
constexpr Named kFlags[] = {
    {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
    {"SECCOMP_FILTER_FLAG_TSYNC", 0},
    {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1U << 5},
};

// An action that takes no errno and is given one is refused, as the specification wants it.
uint32_t ParseAction(const json::Cursor& at, std::optional<uint32_t> errno_value) {
  const auto* const found = std::ranges::find(kActions, at.String(), &Named::name);
  if (found == std::end(kActions))
    at.Fail("unknown action " + Quoted(at.String()));
  if (found->value == SECCOMP_RET_ERRNO || found->value == SECCOMP_RET_TRACE)
    return found->value | errno_value.value_or(EPERM);
  if (errno_value)
    at.Fail("expected SCMP_ACT_ERRNO or SCMP_ACT_TRACE, as an errno is given");
  return found->value;
}

std::optional<uint32_t> ErrnoAt(const json::Cursor& at, std::string_view key) {
  const auto found = at.Find(key);
  return found ? std::optional(static_cast<uint32_t>(found->Unsigned(kMaxErrno))) : std::nullopt;
}

SeccompCondition ParseCondition(const json::Cursor& at) {
  SeccompCondition out;
  out.index = static_cast<uint32_t>(at.At("index").Unsigned(5));
  out.value = at.At("value").Unsigned(kAny);
  if (const auto two = at.Find("valueTwo"))
    out.value_two = two->Unsigned(kAny);
  const json::Cursor op = at.At("op");
  const auto* const found = std::ranges::find(kOperators, op.String(), &NamedOperator::name);
  if (found == std::end(kOperators))
    op.Fail("unknown operator " + Quoted(op.String()));
  out.op = found->op;
  return out;
}

// The process that hands the listener over is waited for, and sends with the filter not yet over it; wait4 is ours.
void CheckListener(const json::Cursor& at, const SpecSeccomp& spec) {
  if (!spec.notifies())
    return;
  if (spec.listener_path.empty())
    at.Fail("expected a listenerPath with SCMP_ACT_NOTIFY");
  if (spec.default_action == SECCOMP_RET_USER_NOTIF)
    at.Fail("SCMP_ACT_NOTIFY cannot be the default action");
  for (const SeccompRule& rule : spec.rules) {
    if (rule.action == SECCOMP_RET_USER_NOTIF && std::ranges::find(rule.names, "wait4") != rule.names.end())
      at.Fail("SCMP_ACT_NOTIFY cannot be used for the system call 'wait4'");
  }
}

template <typename Table>
std::vector<std::string> Names(const Table& table) {
  std::vector<std::string> out;
  for (const auto& entry : table) out.emplace_back(entry.name);
  return out;
}

}  // namespace

bool SpecSeccomp::notifies() const {
  return default_action == SECCOMP_RET_USER_NOTIF ||
         std::ranges::any_of(rules, [](const SeccompRule& rule) { return rule.action == SECCOMP_RET_USER_NOTIF; });
}

SeccompRule ParseSeccompRule(const json::Cursor& at) {
  SeccompRule out;
  out.names = at.At("names").Strings(kMaxSeccompNames);
  if (out.names.empty())
    at.At("names").Fail("expected at least one system call");
  out.action = ParseAction(at.At("action"), ErrnoAt(at, "errnoRet"));
  if (const auto conditions = at.Find("args")) {
    for (const json::Cursor& one : conditions->Elements(64)) out.conditions.push_back(ParseCondition(one));
  }
  return out;
}

SpecSeccomp ParseSpecSeccomp(const json::Cursor& at) {
  SpecSeccomp out;
  out.default_action = ParseAction(at.At("defaultAction"), ErrnoAt(at, "defaultErrnoRet"));
  if (const auto architectures = at.Find("architectures"))
    out.architectures = architectures->Strings(64);
  if (const auto flags = at.Find("flags")) {
    for (const json::Cursor& flag : flags->Elements(16)) {
      const auto* const found = std::ranges::find(kFlags, flag.String(), &Named::name);
      if (found == std::end(kFlags))
        flag.Fail("unknown flag " + Quoted(flag.String()));
      out.flags |= found->value;
    }
  }
  if (const auto path = at.Find("listenerPath"))
    out.listener_path = path->String(4096);
  if (const auto metadata = at.Find("listenerMetadata"))
    out.listener_metadata = metadata->String();
  if (const auto rules = at.Find("syscalls")) {
    for (const json::Cursor& rule : rules->Elements(kMaxSeccompRules)) out.rules.push_back(ParseSeccompRule(rule));
  }
  CheckListener(at, out);
  return out;
}

std::vector<std::string> SeccompActionNames() { return Names(kActions); }
std::vector<std::string> SeccompOperatorNames() { return Names(kOperators); }
std::vector<std::string> SeccompFlagNames() { return Names(kFlags); }

}  // namespace gantry::runner
