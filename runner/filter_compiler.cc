#include "runner/filter_compiler.h"

#include <errno.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>
#include <stddef.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>

#include "libimage/base/error.h"
#include "runner/syscall_table.h"

namespace gantry::runner {
namespace {

using Code = std::vector<sock_filter>;
using Operator = SeccompCondition::Operator;

constexpr size_t kFarthest = 255;  // of a conditional jump
constexpr uint32_t kNoSys = SECCOMP_RET_ERRNO | ENOSYS;

sock_filter Statement(unsigned code, uint32_t k) { return {static_cast<uint16_t>(code), 0, 0, k}; }
sock_filter Jump(unsigned code, uint32_t k, size_t yes, size_t no) {
  return {static_cast<uint16_t>(BPF_JMP | code | BPF_K), static_cast<uint8_t>(yes), static_cast<uint8_t>(no), k};
}
sock_filter Return(uint32_t action) { return Statement(BPF_RET | BPF_K, action); }
sock_filter Load(size_t offset) { return Statement(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)); }
void Append(Code& to, const Code& more) { to.insert(to.end(), more.begin(), more.end()); }

// One comparison of a 64-bit argument, a half at a time. Where the answer is known in the middle it jumps: to the end
// of the test, or `skip` further when the condition does not hold.
class Test {
 public:
  Test(const SeccompCondition& condition, size_t skip) : skip_(skip) {
    const bool big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    const size_t at = offsetof(seccomp_data, args) + condition.index * sizeof(uint64_t);
    high_ = at + (big ? 0 : 4);
    low_ = at + (big ? 4 : 0);
    const uint64_t value = condition.value;
    switch (condition.op) {
      case Operator::kEqual:
        Equal(value, kContinue, kPass, kFail);
        break;
      case Operator::kNotEqual:
        Equal(value, kContinue, kFail, kPass);
        break;
      case Operator::kGreater:
        Ordered(BPF_JGT, value, kPass, kFail);
        break;
      case Operator::kGreaterOrEqual:
        Ordered(BPF_JGE, value, kPass, kFail);
        break;
      case Operator::kLess:
        Ordered(BPF_JGE, value, kFail, kPass);
        break;
      case Operator::kLessOrEqual:
        Ordered(BPF_JGT, value, kFail, kPass);
        break;
      case Operator::kMaskedEqual:
        Masked(value, condition.value_two);
        break;
    }
  }

  Code Finish() const {
    Code out;
    for (size_t i = 0; i < steps_.size(); ++i) {
      sock_filter step = steps_[i].filter;
      step.jt = Offset(steps_[i].yes, i);
      step.jf = Offset(steps_[i].no, i);
      out.push_back(step);
    }
    return out;
  }

 private:
  enum Target { kContinue, kPass, kFail };
  struct Step {
    sock_filter filter;
    Target yes = kContinue;
    Target no = kContinue;
  };

  uint8_t Offset(Target target, size_t at) const {
    const size_t to_end = steps_.size() - at - 1;
    return static_cast<uint8_t>(target == kContinue ? 0 : target == kPass ? to_end : to_end + skip_);
  }
  void Add(const sock_filter& filter, Target yes = kContinue, Target no = kContinue) {
    steps_.push_back({filter, yes, no});
  }
  void Equal(uint64_t value, Target high_same, Target same, Target other) {
    Add(Load(high_));
    Add(Jump(BPF_JEQ, static_cast<uint32_t>(value >> 32), 0, 0), high_same, other);
    Add(Load(low_));
    Add(Jump(BPF_JEQ, static_cast<uint32_t>(value), 0, 0), same, other);
  }
  void Ordered(unsigned low_comparison, uint64_t value, Target more, Target less) {
    Add(Load(high_));
    Add(Jump(BPF_JGT, static_cast<uint32_t>(value >> 32), 0, 0), more, kContinue);
    Add(Jump(BPF_JEQ, static_cast<uint32_t>(value >> 32), 0, 0), kContinue, less);
    Add(Load(low_));
    Add(Jump(low_comparison, static_cast<uint32_t>(value), 0, 0), more, less);
  }
  void Masked(uint64_t mask, uint64_t value) {
    for (const auto& [at, shift] : {std::pair{high_, 32}, std::pair{low_, 0}}) {
      Add(Load(at));
      Add(Statement(BPF_ALU | BPF_AND | BPF_K, static_cast<uint32_t>(mask >> shift)));
      Add(Jump(BPF_JEQ, static_cast<uint32_t>((value & mask) >> shift), 0, 0), shift == 0 ? kPass : kContinue, kFail);
    }
  }

  size_t skip_;
  size_t high_ = 0;
  size_t low_ = 0;
  std::vector<Step> steps_;
};

struct Alternative {
  std::vector<SeccompCondition> conditions;  // each argument at most once
  uint32_t action;
};

// What one system call answers.
struct Answer {
  std::vector<Alternative> alternatives;
  std::optional<uint32_t> always;
};

Code CodeOf(const Answer& answer, uint32_t otherwise) {
  if (answer.always)
    return {Return(*answer.always)};
  Code out;
  for (const Alternative& alternative : answer.alternatives) {
    Code tests = {Return(alternative.action)};
    for (auto condition = alternative.conditions.rbegin(); condition != alternative.conditions.rend(); ++condition) {
      Code test = Test(*condition, tests.size()).Finish();
      Append(test, tests);
      tests = std::move(test);
    }
    Append(out, tests);
  }
  out.push_back(Return(otherwise));
  return out;
}

// Numbers from `first` up to the next interval's answer alike.
struct Interval {
  uint32_t first;
  Code code;
};

Code Search(std::span<const Interval> intervals) {
  if (intervals.size() == 1)
    return intervals.front().code;
  const size_t middle = intervals.size() / 2;
  const Code below = Search(intervals.first(middle));
  Code out;
  if (below.size() <= kFarthest) {
    out.push_back(Jump(BPF_JGE, intervals[middle].first, below.size(), 0));
  } else {
    out.push_back(Jump(BPF_JGE, intervals[middle].first, 0, 1));
    out.push_back(Statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(below.size())));
  }
  Append(out, below);
  Append(out, Search(intervals.subspan(middle)));
  return out;
}

// Two conditions on one argument cannot both be meant: runc, and so everybody's profile, takes each as a rule.
std::vector<Alternative> AlternativesOf(const SeccompRule& rule) {
  std::array<int, 6> seen{};
  for (const SeccompCondition& condition : rule.conditions) ++seen[condition.index];
  if (std::ranges::none_of(seen, [](int count) { return count > 1; }))
    return {{rule.conditions, rule.action}};
  std::vector<Alternative> out;
  for (const SeccompCondition& condition : rule.conditions) out.push_back({{condition}, rule.action});
  return out;
}

void Add(Answer& answer, const SeccompRule& rule) {
  if (rule.conditions.empty()) {
    if (!answer.always)
      answer.always = rule.action;
    return;
  }
  for (Alternative& alternative : AlternativesOf(rule)) answer.alternatives.push_back(std::move(alternative));
}

// Calls that are also parts of socketcall and ipc on i386, with their numbers there.
struct Part {
  std::string_view name;
  std::string_view whole;
  uint64_t number;
};
constexpr Part kParts[] = {
    {"socket", "socketcall", 1},
    {"bind", "socketcall", 2},
    {"connect", "socketcall", 3},
    {"listen", "socketcall", 4},
    {"accept", "socketcall", 5},
    {"getsockname", "socketcall", 6},
    {"getpeername", "socketcall", 7},
    {"socketpair", "socketcall", 8},
    {"send", "socketcall", 9},
    {"recv", "socketcall", 10},
    {"sendto", "socketcall", 11},
    {"recvfrom", "socketcall", 12},
    {"shutdown", "socketcall", 13},
    {"setsockopt", "socketcall", 14},
    {"getsockopt", "socketcall", 15},
    {"sendmsg", "socketcall", 16},
    {"recvmsg", "socketcall", 17},
    {"accept4", "socketcall", 18},
    {"recvmmsg", "socketcall", 19},
    {"sendmmsg", "socketcall", 20},
    {"semop", "ipc", 1},
    {"semget", "ipc", 2},
    {"semctl", "ipc", 3},
    {"semtimedop", "ipc", 4},
    {"msgsnd", "ipc", 11},
    {"msgrcv", "ipc", 12},
    {"msgget", "ipc", 13},
    {"msgctl", "ipc", 14},
    {"shmat", "ipc", 21},
    {"shmdt", "ipc", 22},
    {"shmget", "ipc", 23},
    {"shmctl", "ipc", 24},
};

std::optional<uint32_t> NumberOf(const SyscallArchitecture& architecture, std::string_view name) {
  const auto found = std::ranges::lower_bound(architecture.calls, name, {}, &SyscallNumber::name);
  if (found == architecture.calls.end() || found->name != name)
    return std::nullopt;
  return found->number;
}

void AddPart(const SyscallArchitecture& architecture, std::string_view name, uint32_t action,
             std::map<uint32_t, Answer>& into) {
  const auto* const part = std::ranges::find(kParts, name, &Part::name);
  if (part == std::end(kParts))
    return;
  SeccompCondition condition;
  condition.value = part->number;
  into[*NumberOf(architecture, part->whole)].alternatives.push_back({{condition}, action});
}

std::map<uint32_t, Answer> AnswersOf(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  std::map<uint32_t, Answer> out;
  for (const SeccompRule& rule : rules.rules) {
    if (rule.action == rules.default_action)
      continue;
    for (const std::string& name : rule.names) {
      if (const auto number = NumberOf(architecture, name))
        Add(out[*number], rule);
      if (architecture.multiplexed && rule.conditions.empty())
        AddPart(architecture, name, rule.action, out);
    }
  }
  return out;
}

// The highest number that a rule names, whatever it says.
uint32_t NewestNamed(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  uint32_t newest = architecture.first;
  for (const SeccompRule& rule : rules.rules) {
    for (const std::string& name : rule.names) newest = std::max(newest, NumberOf(architecture, name).value_or(newest));
  }
  return newest;
}

bool Refuses(uint32_t action) {
  const uint32_t kind = action & SECCOMP_RET_ACTION_FULL;
  return kind != SECCOMP_RET_ALLOW && kind != SECCOMP_RET_LOG && kind != SECCOMP_RET_TRACE;
}

Code CodeOf(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  const std::map<uint32_t, Answer> answers = AnswersOf(rules, architecture);
  std::vector<Interval> intervals;
  const auto add = [&](uint32_t first, Code code) {
    const auto same = [](const sock_filter& a, const sock_filter& b) {
      return a.code == b.code && a.jt == b.jt && a.jf == b.jf && a.k == b.k;
    };
    if (!intervals.empty() && std::ranges::equal(intervals.back().code, code, same))
      return;
    intervals.push_back({first, std::move(code)});
  };
  uint32_t next = 0;
  for (const auto& [number, answer] : answers) {
    if (number > next)
      add(next, {Return(rules.default_action)});
    add(number, CodeOf(answer, rules.default_action));
    next = number + 1;
  }
  const uint32_t newest = NewestNamed(rules, architecture);
  if (next <= newest || intervals.empty() || !Refuses(rules.default_action))
    add(next, {Return(rules.default_action)});
  if (Refuses(rules.default_action) && !rules.rules.empty())
    add(std::max(next, newest + 1), {Return(kNoSys)});
  return Search(intervals);
}

// Skips `code` unless the accumulator has `value` (equal) or is at least it.
Code Unless(unsigned comparison, uint32_t value, const Code& code) {
  Code out;
  if (code.size() <= kFarthest) {
    out.push_back(Jump(comparison, value, 0, code.size()));
  } else {
    out.push_back(Jump(comparison, value, 1, 0));
    out.push_back(Statement(BPF_JMP | BPF_JA, static_cast<uint32_t>(code.size())));
  }
  Append(out, code);
  return out;
}

bool Listed(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  return &architecture == SyscallArchitectures().data() ||
         std::ranges::find(rules.architectures, architecture.name) != rules.architectures.end();
}

// Of one AUDIT_ARCH_: its own numbers, and those above the bit of the architecture that shares it.
Code CodeOfShared(const SpecSeccomp& rules, const SyscallArchitecture& architecture) {
  Code out = {Load(offsetof(seccomp_data, nr))};
  for (const SyscallArchitecture& other : SyscallArchitectures()) {
    if (other.audit == architecture.audit && other.first != 0) {
      const Code above = Listed(rules, other) ? CodeOf(rules, other) : Code{Return(SECCOMP_RET_KILL_PROCESS)};
      Append(out, Unless(BPF_JGE, other.first, above));
    }
  }
  Append(out, CodeOf(rules, architecture));
  return out;
}

}  // namespace

std::vector<sock_filter> CompileFilter(const SpecSeccomp& rules) {
  Code out = {Load(offsetof(seccomp_data, arch))};
  for (const SyscallArchitecture& architecture : SyscallArchitectures()) {
    if (architecture.first == 0 && Listed(rules, architecture))
      Append(out, Unless(BPF_JEQ, architecture.audit, CodeOfShared(rules, architecture)));
  }
  out.push_back(Return(SECCOMP_RET_KILL_PROCESS));
  if (out.size() > BPF_MAXINSNS)
    throw Error(ErrorKind::kUnsupported, "the system call filter is longer than the kernel's 4096 steps",
                "use fewer rules with conditions in linux.seccomp");
  return out;
}

}  // namespace gantry::runner
